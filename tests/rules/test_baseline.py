"""What a zone learns to be normal: a distance, averages that stay compositions, and rules on them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseg import config
from edgeseg.cli import main
from edgeseg.errors import ConfigError
from edgeseg.events import Light, RuleState, ZoneOccupancy
from edgeseg.replay.recording.reader import occupancies
from edgeseg.rules import baseline
from edgeseg.rules.baseline import Normal
from edgeseg.rules.memory import AwayMemory
from edgeseg.rules.serialization import decode, encode
from edgeseg.stages.illumination import classify_illumination
from edgeseg.stages.preprocess import make_fit
from tests.conftest import TESTS
from tests.end_to_end.test_run import pipeline
from tests.support.examples import examples
from tests.support.rules_fixtures import DOMINANT, Played, Sample, seen

CLASSES = ("road", "car", "snow")
UNUSUAL = replace(DOMINANT, name="unusual", for_s=5.0, clear_s=5.0, unlike="normal", learn_s=60.0)
DRIFTED = replace(UNUSUAL, name="drifted", unlike="before")
DAY_S = 86_400.0

weights = st.lists(st.integers(0, 100), min_size=3, max_size=3).filter(any)


def shares(parts: list[int]) -> dict[str, float]:
    return {name: part / sum(parts) for name, part in zip(CLASSES, parts, strict=True)}


@given(weights, weights, weights)
def test_the_distance_is_a_metric(one: list[int], two: list[int], three: list[int]) -> None:
    a, b, c = shares(one), shares(two), shares(three)
    assert 0 <= baseline.distance(a, b) <= 1
    assert baseline.distance(a, b) == pytest.approx(baseline.distance(b, a))
    assert baseline.distance(a, a) == pytest.approx(0, abs=1e-7)
    assert baseline.distance(a, c) <= baseline.distance(a, b) + baseline.distance(b, c) + 1e-7


def test_distances_worked_out_by_hand() -> None:
    assert baseline.distance({"road": 1.0}, {"car": 1.0}) == 1.0
    # Half of it another thing: 1 bit less the entropies' mean, 0.8113 - 0.5.
    assert baseline.distance({"road": 1.0}, {"road": 0.5, "car": 0.5}) == pytest.approx(math.sqrt(0.3112781))


def test_what_is_uncertain_is_a_class_of_its_own() -> None:
    assert baseline.composition({"road": 0.7, "car": 0.0, "vehicle": 0.3}, ("vehicle",)) == pytest.approx(
        {"road": 0.7, "uncertain": 0.3}
    )


@settings(max_examples=examples(50))
@given(
    st.lists(
        st.tuples(st.integers(0, 90_000), weights, st.sampled_from(["dim", "bright", None])), max_size=60
    )
)
def test_whatever_it_sees_it_stays_bounded(seen_so_far: list[tuple[int, list[int], Light | None]]) -> None:
    known, t = Normal(), 0.0
    for passed_s, parts, light in seen_so_far:
        t += passed_s
        occupancy = replace(seen(t, shares(parts)), light=light)
        now = baseline.composition(shares(parts), ())
        outlook = baseline.learned(known, occupancy, now, float(passed_s), 20.0, "normal")
        known = outlook.normal
        assert outlook.value is None or 0 <= outlook.value <= 1
        assert known.threshold is None or baseline.LEAST_DISTANCE <= known.threshold <= 1
    assert len(known.bins) <= 24 * 3
    for one in known.bins.values():
        assert len(one.spread) <= 51
        for average in (one.usual, one.lasting):
            assert sum(average.values()) == pytest.approx(1 if one.watched_s else 0)


def steadily(start_s: float, length_s: float, coverage: Mapping[str, float]) -> Iterator[Sample]:
    return ((start_s + t, coverage) for t in range(int(length_s)))


EMPTY, BUSY, SNOW = {"road": 1.0}, {"road": 0.8, "car": 0.2}, {"road": 0.3, "snow": 0.7}


def test_it_says_that_it_learns_and_then_tells_what_is_unusual() -> None:
    played = Played(UNUSUAL, steadily(0, 10, EMPTY))
    first = played.events[0]
    assert isinstance(first, RuleState)
    assert (first.state, first.reason) == ("unknown", "learning what is normal (08 any)")
    # Whatever comes while it learns raises nothing.
    played.feed(steadily(10, 10, SNOW)).feed(steadily(20, 110, EMPTY))
    assert not played.alerts
    played.feed(steadily(130, 60, SNOW)).feed(steadily(190, 30, EMPTY))
    assert [alert.event for alert in played.alerts if alert.event != "update"] == ["new", "end"]
    new = played.alerts[0]
    assert new.evidence is not None
    assert new.evidence.value is not None
    assert new.evidence.threshold is not None
    assert new.evidence.value > new.evidence.threshold
    assert new.at_s - new.began_at_s == 5.0


def test_what_comes_and_goes_is_normal_where_it_always_did() -> None:
    def traffic(start_s: int, length_s: int) -> Iterator[Sample]:
        return ((float(t), BUSY if t % 10 < 3 else EMPTY) for t in range(start_s, start_s + length_s))

    played = Played(UNUSUAL, traffic(0, 600))
    assert not played.alerts
    assert not Played(UNUSUAL, traffic(0, 300)).feed(steadily(300, 60, EMPTY)).alerts
    played.feed(steadily(600, 30, SNOW))
    assert [alert.event for alert in played.alerts] == ["new"]


def test_each_hour_has_its_own_normal() -> None:
    played = Played(UNUSUAL, steadily(0, 200, EMPTY)).feed(steadily(3600, 200, SNOW))
    # The next hour was never seen: nothing to be unlike.
    assert not played.alerts
    played.feed(steadily(DAY_S, 20, EMPTY)).feed(steadily(DAY_S + 3600, 20, SNOW))
    assert not played.alerts
    played.feed(steadily(DAY_S + 3700, 20, EMPTY))
    assert [alert.event for alert in played.alerts] == ["new"]


def test_what_stays_becomes_normal() -> None:
    played = Played(UNUSUAL, steadily(0, 200, EMPTY)).feed(steadily(200, 1500, SNOW))
    assert [alert.event for alert in played.alerts if alert.event != "update"] == ["new", "end"]
    # Three times the time to learn, give or take how far it is.
    assert 100 < played.alerts[-1].at_s - played.alerts[0].at_s < 1000


def growing(days: int, most: float) -> Iterator[Sample]:
    """Two minutes of each day, a little more snow every day."""
    for day in range(days):
        share = most * max(0, day - 5) / days
        yield from steadily(day * DAY_S, 120, {"road": 1 - share, "snow": share})


def test_slow_change_is_no_sudden_one() -> None:
    slowly = list(growing(60, 0.8))
    assert not Played(UNUSUAL, slowly).alerts
    drifted = Played(DRIFTED, slowly).alerts
    assert drifted[0].event == "new"
    # And the sudden one is no drift.
    assert not Played(DRIFTED, steadily(0, 200, EMPTY)).feed(steadily(200, 30, SNOW)).alerts


def test_an_unknown_zone_teaches_nothing() -> None:
    played = Played(UNUSUAL, ((float(t), EMPTY if t % 2 else None) for t in range(600)))
    known = played.rules.memory["unusual"].normal
    assert known is not None
    assert known.bins["08 any"].watched_s == 0


def test_what_was_learned_outlives_the_process() -> None:
    played = Played(UNUSUAL, steadily(0, 200, BUSY))
    memories = {"bay": played.rules.memory}
    text = encode(memories, AwayMemory(), {("bay", "unusual"): "f"}, "boot", 0.0, 0.0)
    assert decode(text).rules[0].memory == played.rules.memory["unusual"]


def test_memory_is_small() -> None:
    """A whole day in two lights, of a zone in which everything happens."""
    generator, known = np.random.default_rng(1), Normal()
    for step in range(4 * 24 * 120):
        occupancy: ZoneOccupancy = replace(seen(step * 30.0, EMPTY), light="dim" if step % 7 else "bright")
        now = baseline.composition(shares(generator.integers(1, 100, 3).tolist()), ())
        known = baseline.learned(known, occupancy, now, 30.0, 60.0, "normal").normal
    memories = {"bay": {"unusual": replace(Played(UNUSUAL, []).rules.memory["unusual"], normal=known)}}
    assert len(known.bins) == 48
    assert len(encode(memories, AwayMemory(), {("bay", "unusual"): "f"}, "boot", 0.0, 0.0)) < 80_000


@pytest.mark.parametrize(
    ("colour", "light"),
    [
        ((120, 120, 120), "infrared"),
        ((20, 30, 25), "dark"),
        ((60, 80, 40), "dim"),
        ((150, 160, 120), "bright"),
    ],
)
def test_light(colour: tuple[int, int, int], light: Light) -> None:
    fit = make_fit("letterbox", (64, 32), (64, 64))
    # What is padding would say something else.
    views = np.full((1, 64, 64, 3), (255, 0, 0), np.uint8)
    views[:, 16:48] = colour
    assert classify_illumination(views, fit) == light


RECORDED = TESTS / "recordings"


def said_of_the_room(folder: Path, learn: str) -> tuple[list[str], list[Any]]:
    """The rule's states and alerts for the recording of a real clip: nobody for 6 s, then one person
    after the other, and nobody between them."""
    rule = f"visit: {{changed: unusual, learn: {learn}, for: 1 s, clear: 1 s}}"
    file, said = folder / "room.yaml", folder / "said.jsonl"
    file.write_text((RECORDED / "people.yaml").read_text().replace("standing: {occupied: [person]}", rule))
    assert main(["replay", str(RECORDED / "people.jsonl"), str(file), "--output", str(said)]) == 0
    lines = [json.loads(line) for line in said.read_text().splitlines()]
    states = [line["payload"] for line in lines if line["topic"].endswith("/rule/visit")]
    return states, [line["payload"] for line in lines if line["topic"].endswith("/alert")]


def test_a_visitor_is_unusual_in_a_room_that_was_learned_empty(tmp_path: Path) -> None:
    states, alerts = said_of_the_room(tmp_path, "6 s")
    assert states[:3] == ["unknown", "OFF", "ON"]
    new = alerts[0]
    assert (new["event"], new["kind"]) == ("new", "changed")
    # When the person's edge comes in, give or take an interval.
    assert new["began_at"].startswith(("1970-01-01T00:00:06", "1970-01-01T00:00:07"))
    assert new["after"]["coverage"]["person"] > 0.1
    assert new["evidence"]["value"] > new["evidence"]["threshold"] == baseline.LEAST_DISTANCE


def test_visitors_are_normal_in_a_room_that_was_learned_with_them(tmp_path: Path) -> None:
    states, alerts = said_of_the_room(tmp_path, "60 s")
    assert states == ["unknown", "OFF", "unknown"]
    assert alerts == []


def test_a_recording_keeps_the_light(tmp_path: Path, tiny_clip: Path) -> None:
    file, recording = pipeline(tmp_path, tiny_clip), tmp_path / "seen.jsonl"
    text = file.read_text()
    file.write_text(re.sub(r"seen: .*", "seen: {changed: unusual, learn: 5 s}", text))
    assert file.read_text() != text
    assert (
        main(
            ["replay", str(tiny_clip), str(file), "--record", str(recording), "--output", str(tmp_path / "o")]
        )
        == 0
    )
    settings = config.load(file)
    moments = list(occupancies(recording, settings.cameras[0], settings.groups))
    lights = {moment[0].light for moment in moments if moment[0].state == "ok"}
    assert lights
    assert lights <= set(get_args(Light))


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (
            "{changed: unusual, enter: 20 %}",
            "enter: 'changed: unusual' finds its threshold itself; remove it",
        ),
        ("{changed: drifted, reference: car}", "reference: belongs to 'changed: dominant' alone"),
        (
            "{changed: dominant, learn: 1 h}",
            "learn: belongs to 'changed: unusual' and 'changed: drifted' alone",
        ),
        ("{changed: unusual, learn: 1 s}", "learn: got 1 s, expected 5 s to 1 d"),
        ("{changed: odd}", "expected dominant, unusual, drifted, or {from: ...}"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, tiny_clip: Path, rule: str, said: str) -> None:
    file = pipeline(tmp_path, tiny_clip)
    file.write_text(re.sub(r"seen: .*", f"seen: {rule}", file.read_text()))
    with pytest.raises(ConfigError) as raised:
        config.load(file)
    assert any(said in str(problem) for problem in raised.value.problems), raised.value

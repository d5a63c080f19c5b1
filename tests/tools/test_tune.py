"""``edgeseg tune``: skipping observations changes nothing, a flap is what it is said to be, and a suggestion
holds when the patched file is replayed.

``recordings/people.jsonl`` is a real clip through a real network: six people come to a small table, one after
the other, five to seven seconds apart (``visits.csv``, seen by a person).
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from edgeseg import config
from edgeseg.cli import main
from edgeseg.commands.tune import JSON_SCHEMA
from edgeseg.settings import RuleSettings
from edgeseg.tools.tuning.grid import grid
from edgeseg.tools.tuning.rule_run import AlertSpan, Track
from edgeseg.tools.tuning.scoring import FlapLimits, Occasion, flaps, occasions, score
from tests.conftest import TESTS
from tests.end_to_end.test_run import pipeline
from tests.rules.test_rules_properties import rules, series
from tests.support.rules_fixtures import DOMINANT, OCCUPIED, Sample, seen

RECORDINGS = TESTS / "recordings"
LIMITS = FlapLimits(gap_s=10.0, short_s=2.0)


@st.composite
def broken_series(draw: st.DrawFn) -> list[Sample]:
    """Series after which camera time may go back, as when a source is restarted."""
    samples: list[Sample] = []
    for _ in range(draw(st.integers(1, 3))):
        samples += draw(series())
    return samples


@given(
    rule=st.one_of(rules(), rules().map(lambda rule: replace(DOMINANT, for_s=rule.for_s))),
    samples=broken_series(),
)
def test_skimming_gives_the_alerts_of_every_observation(rule: RuleSettings, samples: list[Sample]) -> None:
    track = Track(rule, [seen(*sample) for sample in samples])
    assert track.skim(rule) == track.play(rule)
    if rule.enter is not None and rule.leave is not None:
        # A track is made once, for all settings of its rule.
        other = replace(rule, enter=(rule.enter + 0.1), leave=rule.leave + 0.1, for_s=1.0, clear_s=0.5)
        assert track.skim(other) == track.play(other)


def span(raised_s: float, over_s: float | None) -> AlertSpan:
    return AlertSpan(raised_s - 1, raised_s, None if over_s is None else over_s - 1, over_s)


@pytest.mark.parametrize(
    ("spans", "count"),
    [
        ([], 0),
        ([span(0, 100)], 0),
        ([span(0, 1.9)], 1),
        ([span(0, 2)], 0),
        ([span(0, 20), span(29.9, 60)], 1),
        ([span(0, 20), span(30, 60)], 0),
        # Short and again at once is one flap, not two.
        ([span(0, 20), span(25, 26)], 1),
        ([span(0, 20), span(25, None)], 1),
        ([span(0, None)], 0),
    ],
)
def test_a_flap_is_an_alert_that_was_short_or_came_again(spans: list[AlertSpan], count: int) -> None:
    assert flaps(spans, LIMITS) == count


def test_occasions_are_alerts_with_their_flaps_taken_for_one() -> None:
    spans = [span(10, 20), span(25, 40), span(100, 101), span(200, None)]
    assert occasions(spans, LIMITS, ends_at_s=300) == [Occasion(9, 39), Occasion(199, 300)]


def test_a_score_counts_what_is_missed_and_what_is_extra() -> None:
    events = [Occasion(10, 20), Occasion(50, 60), Occasion(90, 95)]
    # The first goes on over the second event, which therefore nobody is told of.
    got = score([span(12, 70), span(80, 85), span(91, 97)], events, LIMITS, early_s=2)
    assert (got.events, got.missed, got.extra, got.alerts) == (3, 1, 1, 3)
    assert (got.precision, got.recall) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert got.delays_s == (2, 1)
    assert got.lingers_s == (50, 2)


def test_a_grid_holds_thousands_of_sound_settings_and_todays() -> None:
    tried = grid(OCCUPIED, [0.0, 0.2, 0.9], longest_clip_s=600)
    assert len(tried.rules) > 3000
    assert tried.rules[tried.today] == OCCUPIED
    for rule in tried.rules.values():
        assert rule.enter is not None
        assert rule.leave is not None
        assert 0 < rule.leave <= rule.enter <= 0.9
    assert len(grid(DOMINANT, [], 600).rules) > 100


@pytest.fixture
def people(tmp_path: Path) -> Path:
    file = tmp_path / "people.yaml"
    shutil.copy(RECORDINGS / "people.yaml", file)
    return file


def tuned(file: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    assert main(["tune", str(RECORDINGS / "people.jsonl"), str(file), "--json", *more]) == 0
    found = json.loads(capsys.readouterr().out)
    Draft202012Validator(JSON_SCHEMA).validate(found)
    assert isinstance(found, dict)
    return found


def replayed(file: Path, capsys: pytest.CaptureFixture[str]) -> list[tuple[float, str]]:
    """(seconds, ``new`` or ``end``) of the alerts that a replay of the recording prints."""
    assert main(["replay", str(RECORDINGS / "people.jsonl"), str(file), "--alerts"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    alerts = [line["payload"] for line in lines if line["topic"].endswith("/alert")]
    return [
        (60 * int(alert["at"][14:16]) + float(alert["at"][17:23]), alert["event"])
        for alert in alerts
        if alert["event"] != "update"
    ]


def off_s(alerts: list[tuple[float, str]]) -> list[float]:
    """How long the rule was off between two alerts."""
    return [
        later - earlier
        for (earlier, first), (later, second) in pairwise(alerts)
        if (first, second) == ("end", "new")
    ]


def test_the_default_flaps_and_the_patched_file_does_not(
    people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = replayed(people, capsys)
    assert len(off_s(before)) == 4
    assert max(off_s(before)) < 10
    (rule,) = tuned(people, capsys, "--write")["rules"]
    assert rule["today"]["flaps"] == 4
    assert rule["settings"] > 2000
    assert (rule["suggested"]["flaps"], rule["suggested"]["missed"], rule["suggested"]["extra"]) == (0, 0, 0)
    # One key is enough, and it leaves a step of room on both sides: the longest pause is 6.8 s.
    assert rule["suggested"]["keys"] == {**rule["today"]["keys"], "clear": "10 s"}
    after = replayed(people, capsys)
    assert [event for _, event in after] == ["new"]
    assert after[0] == before[0]


def test_the_patch_leaves_the_rest_of_the_file_alone(
    people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = people.read_text()
    diff = tuned(people, capsys)["diff"]
    assert people.read_text() == before
    changed = [line for line in diff.splitlines()[2:] if line.startswith(("+", "-"))]
    assert [line.strip("+- ").split("#")[0].rstrip() for line in changed] == [
        "standing: {occupied: [person]}",
        "standing: {occupied: [person], clear: 10 s}",
    ]
    assert all(line.endswith("# somebody is at it") for line in changed)


def test_labelled_events_decide_what_is_right(
    people: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    visits = RECORDINGS / "visits.csv"
    plot = tmp_path / "tuned.png"
    arguments = ("--labels", str(visits), "--write", "--plot", str(plot))
    (rule,) = tuned(people, capsys, *arguments)["rules"]
    # By default two visits four seconds apart are told as one; six seconds make the others flaps.
    assert rule["today"]["recall"] == pytest.approx(5 / 6, abs=1e-4)
    assert (rule["suggested"]["recall"], rule["suggested"]["precision"]) == (1, 1)
    assert rule["suggested"]["flaps"] == 0
    assert rule["curve"][0]["delay_s"] <= rule["suggested"]["delay_s"]
    assert len([event for _, event in replayed(people, capsys) if event == "new"]) == 6
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_table_says_what_is_suggested(people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", str(RECORDINGS / "people.jsonl"), str(people)]) == 0
    out = capsys.readouterr().out
    assert "table/standing: 1 occasion in 2.3 min" in out
    assert "+          standing: {occupied: [person], clear: 10 s}" in out
    (suggested,) = (line for line in out.splitlines() if line.startswith("suggested"))
    assert "clear: 10 s" in suggested


def test_a_clip_is_segmented_once(
    tmp_path: Path, tiny_clip: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "cache"))
    file = pipeline(tmp_path, tiny_clip)
    arguments = ["tune", str(tiny_clip), str(file), "--gap", "500 ms", "--short", "100 ms"]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    (kept,) = (tmp_path / "cache" / "tuning").iterdir()
    modified = kept.stat().st_mtime_ns
    # Other rules of the same zone look at the same occupancy.
    file.write_text(file.read_text().replace("enter: 5 %", "enter: 6 %"))
    assert main(arguments) == 0
    file.write_text(file.read_text().replace("enter: 6 %", "enter: 5 %"))
    assert main(arguments) == 0
    assert capsys.readouterr().out.endswith(first)
    assert kept.stat().st_mtime_ns == modified
    file.write_text(file.read_text().replace("[0.5, 0]", "[0.4, 0]"))
    assert main(arguments) == 0
    assert len(list((tmp_path / "cache" / "tuning").iterdir())) == 2


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ("start,stop\n1,2\n", ":1: got start, stop, expected a header line with begin and end"),
        ("begin,end\n1,2\nsoon,9\n", ":3: got 'soon', expected seconds"),
        ("begin,end\n9,2\n", ":2: ends before it begins"),
        ("begin,end,zone\n1,2,chair\n", "zone 'chair' is none of table"),
        ("", "got nothing"),
    ],
)
def test_labels_that_are_wrong_are_named(
    labels: str, says: str, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(labels)
    assert main(["tune", str(RECORDINGS / "people.jsonl"), str(people), "--labels", str(path)]) == 2
    assert says in capsys.readouterr().err


def test_the_recording_fits_its_file() -> None:
    settings = config.load(RECORDINGS / "people.yaml")
    assert [zone.name for zone in settings.cameras[0].zones] == ["table"]

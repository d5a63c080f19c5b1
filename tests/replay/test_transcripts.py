"""Replays of real clips through a real network, against golden files of what should be raised and when.

Tolerances. The clips and the network are pinned by hash and the pipeline is deterministic, so on one
machine a replay is byte-identical, which is tested. Another CPU takes other int8 kernels, whose rounding
may tip single pixels along an outline: a threshold may then be crossed one frame (0.2 s) earlier or
later, twice that for a dwell whose two ends both move; and a share may differ by a few percent of the
zone. A person or car who is missed, seen twice or cut in two is far outside both.

What the network misses in car-detection.mp4 (seen from straight above, which Pascal VOC has no pictures
of): single frames of one car are ``car``, ``bus``, or both in parts, now and then ``bottle`` or ``person``,
hence the group; entering cars are found when about a third of them is in the picture; two cars side by side
are one occupation of the zone, as they should be: areas are measured, nobody is counted.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from edgeseg import config
from edgeseg.cli import main
from edgeseg.replay.clip import Replay
from tests.conftest import TESTS

HERE = TESTS
TIME_TOLERANCE_S = 0.4
SHARE_TOLERANCE = 0.05

CASES = [("people", "one-by-one-person-detection.mp4"), ("cars", "car-detection.mp4")]


def transcript(pipeline: Path, clip: Path) -> str:
    settings = config.load(pipeline)
    stream = io.StringIO()
    with Replay(settings, settings.cameras[0], stream) as replay:
        for _ in replay.run(clip, epoch_s=0.0):
            pass
    return stream.getvalue()


def payloads(text: str, topic_end: str) -> list[Any]:
    lines = [json.loads(line) for line in text.splitlines()]
    return [line["payload"] for line in lines if line["topic"].endswith(topic_end)]


def seconds(moment: str) -> float:
    """Of a time in the first hour of 1970."""
    minutes, rest = moment.removeprefix("1970-01-01T00:").removesuffix("Z").split(":")
    return 60 * int(minutes) + float(rest)


@pytest.fixture(scope="module")
def transcripts(data_dir: Path, pulled_models: Path) -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGESEG_CACHE", str(pulled_models))
        return {
            name: transcript(HERE / "pipelines" / f"{name}.yaml", data_dir / "video" / clip)
            for name, clip in CASES
        }


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [name for name, _ in CASES])
def test_alerts_are_the_golden_ones(name: str, transcripts: dict[str, str]) -> None:
    golden = json.loads((HERE / "golden" / f"{name}.json").read_text())
    alerts = [alert for alert in payloads(transcripts[name], "/alert") if alert["event"] != "update"]
    assert [alert["event"] for alert in alerts] == ["new", "end"] * len(golden["alerts"])
    for (new, end), expected in zip(
        zip(alerts[::2], alerts[1::2], strict=True), golden["alerts"], strict=True
    ):
        assert new["id"] == end["id"]
        assert (new["zone"], new["rule"], new["kind"]) == (golden["zone"], golden["rule"], "occupied")
        assert end["end_reason"] == "cleared"
        assert seconds(new["began_at"]) == pytest.approx(expected["began_s"], abs=TIME_TOLERANCE_S)
        assert seconds(new["at"]) == pytest.approx(expected["raised_s"], abs=TIME_TOLERANCE_S)
        assert seconds(end["ended_at"]) == pytest.approx(expected["ended_s"], abs=TIME_TOLERANCE_S)
        assert new["evidence"]["value"] == pytest.approx(expected["share"], abs=SHARE_TOLERANCE)


def test_nothing_is_raised_while_the_room_is_empty(transcripts: dict[str, str]) -> None:
    """Times at which a person looking at the clip sees nobody in the room."""
    empty = [
        (0.0, 5.5),
        (21.0, 22.5),
        (47.0, 49.5),
        (72.0, 73.5),
        (88.5, 91.5),
        (121.0, 122.5),
        (137.0, 139.0),
    ]
    occupancies = payloads(transcripts["people"], "/zone/table/occupancy")
    for occupancy in occupancies:
        time_s = seconds(occupancy["captured_at"])
        if occupancy["state"] == "ok" and any(start <= time_s <= end for start, end in empty):
            assert occupancy["coverage"].get("person", 0.0) <= 0.01, f"at {time_s} s"
    for alert in payloads(transcripts["people"], "/alert"):
        if alert["event"] == "new":
            assert not any(start <= seconds(alert["began_at"]) <= end for start, end in empty)


def test_a_second_replay_is_byte_identical(
    data_dir: Path, pulled_models: Path, transcripts: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGESEG_CACHE", str(pulled_models))
    again = transcript(HERE / "pipelines" / "cars.yaml", data_dir / "video" / "car-detection.mp4")
    assert again == transcripts["cars"]


def test_the_command_prints_the_same_transcript(
    data_dir: Path,
    pulled_models: Path,
    transcripts: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("EDGESEG_CACHE", str(pulled_models))
    written = tmp_path / "cars.jsonl"
    clip = data_dir / "video" / "car-detection.mp4"
    arguments = [
        "replay",
        str(clip),
        str(HERE / "pipelines" / "cars.yaml"),
        "--start",
        "1970-01-01T00:00:00Z",
    ]
    assert main([*arguments, "--output", str(written)]) == 0
    assert written.read_text() == transcripts["cars"]

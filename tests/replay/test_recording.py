"""Recordings of what rules are shown, and transcripts that replays are held against."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgeseg import config
from edgeseg.cli import main
from edgeseg.errors import EdgesegError
from edgeseg.events import ZoneOccupancy
from edgeseg.frames import FrameTime
from edgeseg.replay.recording.lines import FORMAT, VERSION, Header
from edgeseg.replay.recording.reader import header_of, is_recording, occupancies
from edgeseg.replay.recording.writer import RecordingWriter, older_name
from edgeseg.replay.transcript import zones_only
from tests.conftest import write_clip
from tests.end_to_end.test_run import pipeline
from tests.support.broker import wait_until

HEADER = Header(FORMAT, VERSION, "yard", "m", ("road", "car"), {}, {"bay": "f"})


def moment(t: float, car: float | None, seq: int = 1) -> tuple[ZoneOccupancy, ...]:
    coverage = None if car is None else {"road": round(1 - car, 4), "car": car}
    known = coverage is not None
    return (
        ZoneOccupancy(
            camera="yard",
            zone="bay",
            seq=seq,
            time=FrameTime(t, 1e9 + t),
            state="ok" if known else "unknown",
            reason=None if known else "stale",
            coverage=coverage,
            uncertain=0.0 if known else None,
            dominant="road" if known else None,
            confidence=None,
            model="m",
        ),
    )


@pytest.fixture
def replayed(tmp_path: Path, tiny_clip: Path) -> tuple[Path, Path, Path]:
    """A pipeline file, the transcript of its clip, and the recording of the same replay."""
    file, transcript, recording = (
        pipeline(tmp_path, tiny_clip),
        tmp_path / "whole.jsonl",
        tmp_path / "seen.jsonl",
    )
    arguments = ["replay", str(tiny_clip), str(file), "--output", str(transcript), "--record", str(recording)]
    assert main(arguments) == 0
    return file, transcript, recording


def test_a_recording_gives_what_the_clip_gave_byte_for_byte(
    replayed: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    file, transcript, recording = replayed
    again = tmp_path / "again.jsonl"
    assert main(["replay", str(recording), str(file), "--output", str(again)]) == 0
    lines = transcript.read_text().splitlines()
    of_zones = [line for line in lines if zones_only(json.loads(line)["topic"])]
    assert any("/alert" in line for line in of_zones)
    assert again.read_text().splitlines() == of_zones
    assert len(of_zones) < len(lines)
    # Behind the gate most pictures are only compared: that is kept too, and knows no picture.
    assert '"still":true' in recording.read_text()


@pytest.mark.parametrize("only", [[], ["--alerts"]])
def test_a_replay_that_is_as_expected_says_so(
    only: list[str], replayed: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file, transcript, recording = replayed
    assert main(["replay", str(recording), str(file), "--expect", str(transcript), *only]) == 0
    said = capsys.readouterr()
    assert "as expected" in said.out
    assert said.err == ""


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("for: 300 ms", "for: 600 ms", "got"),
        ("enter: 5 %", "enter: 6 %", "payload.evidence.threshold: expected 0.05, got 0.06"),
        ("enter: 5 %", "enter: 100 %", "rule/seen"),
        ("clear: 300 ms}", "clear: 300 ms}\n          more: {occupied: [red]}", "rule/more"),
    ],
)
def test_the_first_difference_is_one_line_and_exit_code_1(
    before: str,
    after: str,
    says: str,
    replayed: tuple[Path, Path, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, transcript, recording = replayed
    file.write_text(file.read_text().replace(before, after))
    assert main(["replay", str(recording), str(file), "--expect", str(transcript), "--alerts"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(str(transcript))
    assert says in line


def test_an_expectation_that_goes_on_after_the_end_differs(
    replayed: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file, transcript, recording = replayed
    lines = transcript.read_text().splitlines(keepends=True)
    transcript.write_text("".join([*lines, next(line for line in lines if "/occupancy" in line)]))
    assert main(["replay", str(recording), str(file), "--expect", str(transcript)]) == 1
    assert "but the replay ended there" in capsys.readouterr().err
    transcript.write_text("".join(lines[:20]))
    assert main(["replay", str(recording), str(file), "--expect", str(transcript)]) == 1
    assert "ends after" in capsys.readouterr().err
    transcript.write_text("not json\n")
    assert main(["replay", str(recording), str(file), "--expect", str(transcript)]) == 2


def test_other_rules_of_the_same_zones_can_be_played(
    replayed: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file, _, recording = replayed
    text = (
        file.read_text().replace("occupied: [red]", "occupied: [colour]") + "groups: {colour: [red, green]}\n"
    )
    file.write_text(text)
    assert main(["replay", str(recording), str(file), "--alerts"]) == 0
    assert '"classes":["red","green"]' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("[0.5, 0]", "[0.4, 0]", "zone right have changed"),
        ("      right:", "      left:", "it has no zone left, only right"),
    ],
)
def test_a_recording_of_another_zone_is_refused(
    before: str, after: str, says: str, replayed: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file, _, recording = replayed
    file.write_text(file.read_text().replace(before, after))
    assert main(["replay", str(recording), str(file)]) == 2
    assert says in capsys.readouterr().err


def test_a_live_camera_is_recorded_until_told_to_stop(tmp_path: Path) -> None:
    file = pipeline(tmp_path, write_clip(tmp_path / "long.mp4", fps=5, frames=600))
    recording = tmp_path / "live.jsonl"
    command = [sys.executable, "-m", "edgeseg", "record", str(file), "-o", str(recording)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(
                lambda: recording.exists() and recording.read_text().count("\n") > 8, "moments of the camera"
            )
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 0, err
    assert "moments of camera yard" in out
    settings = config.load(file)
    told = list(occupancies(recording, settings.cameras[0], settings.groups))
    assert told[0][0].reason == "connecting"
    seen = [one[0] for one in told if one[0].coverage is not None]
    assert len(seen) > 5
    assert all(set(one.coverage or {}) >= {"red"} for one in seen)
    assert main(["replay", str(recording), str(file)]) == 0


def test_a_zone_that_is_unknown_by_itself_is_so_again(
    replayed: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    file = replayed[0]
    settings = config.load(file)
    camera = settings.cameras[0]
    told = list(occupancies(replayed[2], camera, {}))
    index = next(number for number, one in enumerate(told) if one[0].coverage)
    doubted = replace(
        told[index][0], state="unknown", reason="low_confidence", coverage=None, uncertain=None, dominant=None
    )
    doubted = replace(doubted, confidence=None)
    still = replace(doubted, seq=0, time=FrameTime(99.0, 99.0), analysed=doubted.time)
    path = tmp_path / "doubted.jsonl"
    with RecordingWriter(path, header_of(replayed[2])) as writer:
        for one in (told[index][0], doubted, still, told[index][0]):
            writer.on_observation((one,))
    assert [one for (one,) in occupancies(path, camera, {})] == [
        told[index][0],
        doubted,
        still,
        told[index][0],
    ]


def test_a_bounded_recording_keeps_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "yard.jsonl"
    with RecordingWriter(path, HEADER, most_bytes=4096) as writer:
        for second in range(200):
            writer.on_observation(moment(float(second), 0.25))
    older = older_name(path)
    assert is_recording(path)
    assert is_recording(older)
    assert path.stat().st_size + older.stat().st_size <= 4096
    times = [json.loads(line)["t"] for one in (older, path) for line in one.read_text().splitlines()[1:]]
    assert times == [float(second) for second in range(200 - len(times), 200)]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["yard.1.jsonl", "yard.jsonl"]


def test_a_cut_line_at_the_end_is_left_out_and_a_damaged_one_is_named(
    replayed: tuple[Path, Path, Path],
) -> None:
    file, _, recording = replayed
    settings = config.load(file)
    camera = settings.cameras[0]
    whole = len(list(occupancies(recording, camera, {})))
    text = recording.read_text()
    recording.write_text(text[:-4])
    assert len(list(occupancies(recording, camera, {}))) == whole - 1
    recording.write_text(text.replace('"t":', '"T":', 3))
    with pytest.raises(EdgesegError, match=r"seen\.jsonl:2: .*damaged"):
        list(occupancies(recording, camera, {}))


def test_what_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(EdgesegError, match="/dev/full: cannot be written: No space"),
        RecordingWriter(Path("/dev/full"), HEADER),
    ):
        pass
    path = tmp_path / "yard.jsonl"
    (older_name(path) / "in the way").mkdir(parents=True)
    with RecordingWriter(path, HEADER, most_bytes=1000) as writer:
        for second in range(20):
            writer.on_observation(moment(float(second), 0.5))
    # Whoever shows it what the rules see could not mend that: it is kept, and nothing is raised.
    assert "cannot be written" in str(writer.failure)

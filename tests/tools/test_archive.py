"""``edgeseg archive``: the same tables however the work is cut, interrupted and shared."""

from __future__ import annotations

import json
import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from edgeseg.cli import main
from edgeseg.errors import EdgesegError
from edgeseg.tools.archive.local_workers import LocalWorkers
from edgeseg.tools.archive.plan import SegmentPlan
from edgeseg.tools.archive.recordings import camera_of, find
from edgeseg.tools.archive.report import page_of
from edgeseg.tools.archive.start_times import USUAL_NAMES, beginning, check_pattern
from edgeseg.tools.archive.tables import read_alerts, read_occupancy
from edgeseg.tools.archive.workers import Crashed
from tests.conftest import ROOT, write_clip
from tests.end_to_end.test_run import pipeline

FIRST, SECOND = "2026-11-22_10-00-00.mp4", "2026-11-22_10-00-12.mp4"


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Two clips of 12 s, one right after the other: a square crosses the view in each."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in (FIRST, SECOND):
        write_clip(folder / name, frames=120)
    return folder


def archive(recordings: Path, file: Path, output: Path, *more: str) -> int:
    return main(["archive", str(recordings), str(file), "-o", str(output), "--workers", "1", *more])


def tables(output: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(output)): path.read_bytes()
        for kind in ("occupancy", "alerts", "heat")
        for path in sorted((output / kind).rglob("*.*"))
    }


def test_how_it_is_cut_changes_nothing(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, cut, whole = pipeline(tmp_path, "x.mp4"), tmp_path / "cut", tmp_path / "whole"
    assert archive(recordings, file, cut, "--segment", "2 s") == 0
    said = capsys.readouterr()
    assert "12 segments (0 known before), 240 pictures" in said.out
    assert "times are from file names (2)" in said.err
    assert archive(recordings, file, whole, "--segment", "1 h") == 0
    assert "2 segments" in capsys.readouterr().out
    assert tables(cut) == tables(whole)
    assert len(tables(cut)) == 3

    # Nothing is left to do; what is lost is made again, and so is what was written half.
    assert archive(recordings, file, cut) == 0
    assert "12 segments (12 known before), 0 pictures" in capsys.readouterr().out
    lost, *_, half = sorted((cut / "measured").rglob("*.npz"))
    lost.unlink()
    half.write_bytes(half.read_bytes()[:100])
    assert archive(recordings, file, cut) == 0
    assert "12 segments (10 known before), 40 pictures" in capsys.readouterr().out
    assert tables(cut) == tables(whole)

    # What was measured stays, although the recording is gone; the journal may be cut short.
    (recordings / SECOND).unlink()
    (journal,) = (cut / "measured").rglob("journal.jsonl")
    journal.write_bytes(journal.read_bytes()[:-5])
    assert archive(recordings, file, cut) == 0
    rows = len(read_occupancy(cut, "yard").zones)
    assert rows in (220, 240)


def test_alerts_are_those_of_a_replay(recordings: Path, tmp_path: Path) -> None:
    file, output, transcript = pipeline(tmp_path, "x.mp4"), tmp_path / "out", tmp_path / "said.jsonl"
    # What a replay would leave out; an archive leaves out nothing.
    file.write_text(file.read_text().replace("rate: 10\n", "rate: 10\n    health: off\n"))
    (recordings / SECOND).unlink()
    assert archive(recordings, file, output, "--segment", "2 s") == 0
    arguments = ["replay", str(recordings / FIRST), str(file), "--ungated", "--output", str(transcript)]
    assert main([*arguments, "--start", "2026-11-22T10:00:00+00:00"]) == 0
    told = [json.loads(line) for line in transcript.read_text().splitlines()]
    said = [one["payload"] for one in told if one["topic"].endswith("/alert")]
    (alert,) = read_alerts(output, "yard")
    assert (alert["id"], alert["value"]) == (said[0]["id"], said[0]["evidence"]["value"])
    for mine, theirs in (("began_at", "began_at"), ("raised_at", "at")):
        assert alert[mine].isoformat(timespec="milliseconds") + "Z" == said[0][theirs]
    coverage = [one["payload"] for one in told if one["topic"].endswith("/zone/right/occupancy")]
    measured = [one["coverage"]["red"] for one in coverage if one["state"] == "ok"]
    assert read_occupancy(output, "yard").shares["red"].tolist() == measured


def test_other_rules_are_asked_anew_of_what_was_measured(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, output = pipeline(tmp_path, "x.mp4"), tmp_path / "out"
    assert archive(recordings, file, output) == 0
    before = read_alerts(output, "yard")
    file.write_text(file.read_text().replace("enter: 5 %", "enter: 99 %"))
    assert archive(recordings, file, output) == 0
    assert "0 pictures" in capsys.readouterr().out
    assert before
    assert not read_alerts(output, "yard")
    file.write_text(file.read_text().replace("[0.5, 0]", "[0.4, 0]"))
    assert archive(recordings, file, output) == 0
    said = capsys.readouterr()
    assert "everything is measured again" in said.err
    assert "240 pictures" in said.out


def test_an_alert_goes_on_from_clip_to_clip_and_gaps_are_unknown(recordings: Path, tmp_path: Path) -> None:
    later = recordings / "2026-11-23_00-30-00.mp4"
    (recordings / SECOND).rename(later)
    (recordings / FIRST).rename(recordings / "2026-11-22_22-59-55.mp4")
    write_clip(recordings / SECOND.replace("10-00-12", "23-00-07"), frames=120)
    file, output = pipeline(tmp_path, "x.mp4"), tmp_path / "out"
    text = file.read_text().replace("enter: 5 %", "enter: 0.01 %").replace("leave: 2 %", "leave: 0.01 %")
    text = text.replace("clear: 300 ms", "clear: 30 s")
    file.write_text(text.replace("[0.5, 0]", "[0, 0]").replace("[0.5, 1]", "[0, 1]"))
    assert archive(recordings, file, output, "--timezone", "Europe/Berlin") == 0
    seen, (alert,) = read_occupancy(output, "yard"), read_alerts(output, "yard")
    assert len(seen.zones) == 361
    assert seen.unknown.sum() == 1
    # It holds over the second clip and over the gap, and is still on at the end.
    assert alert["began_at"] == datetime(2026, 11, 22, 21, 59, 56)
    assert alert["ended_at"] is None
    assert page_of(output, "yard").rules["right/seen"][0][1] > 5400
    days = sorted(path.parent.name for path in output.rglob("occupancy.parquet"))
    assert days == ["day=2026-11-22", "day=2026-11-23"]
    assert not list(output.rglob("*.partial"))


def test_broken_recordings_are_told_and_the_rest_is_done(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (recordings / "empty.mp4").write_bytes(b"")
    whole = write_clip(tmp_path / "whole.mkv", frames=120).read_bytes()
    (recordings / "2026-11-22_11-00-00.mkv").write_bytes(whole[: len(whole) // 2])
    file, output = pipeline(tmp_path, "x.mp4"), tmp_path / "out"
    assert archive(recordings, file, output) == 1
    said = capsys.readouterr()
    assert "empty.mp4: the file is empty" in said.err
    assert "2026-11-22_11-00-00.mkv: incomplete" in said.err
    assert "2 problems; the rest is complete" in said.err
    assert len(read_occupancy(output, "yard").zones) > 240

    with pytest.raises(SystemExit):
        main(["archive", str(recordings)])
    assert main(["archive", str(tmp_path / "nowhere"), str(file)]) == 2
    assert "expected a folder of recordings" in capsys.readouterr().err
    assert main(["archive", str(recordings), str(file), "--scheduler", "dask:/x"]) == 2
    assert "expected local, or e.g. dask://10.0.0.5:8786" in capsys.readouterr().err


def test_the_page_of_an_archive(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, output = pipeline(tmp_path, "x.mp4"), tmp_path / "out"
    assert archive(recordings, file, output) == 0
    page = page_of(output, "yard")
    (hours,) = page.hours
    assert (hours.zone, hours.by, hours.labels) == ("right", "minute", ["10:00"])
    assert "red" in page.shown
    # The square crosses the middle third of the view from left to right, and nothing else.
    red = page.view.counts[page.view.classes.index("red")]
    assert red.sum(axis=1).nonzero()[0].tolist() == pytest.approx(range(18, 36), abs=2)
    assert page.aspect == pytest.approx(64 / 48, abs=0.1)
    capsys.readouterr()
    assert main(["archive", "report", str(output)]) == 0
    assert Path(capsys.readouterr().out.strip()).read_bytes().startswith(b"\x89PNG")
    assert main(["archive", "report", str(tmp_path)]) == 2
    assert "holds no archive" in capsys.readouterr().err


def test_the_query_that_the_page_shows(recordings: Path, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    file, output = pipeline(tmp_path, "x.mp4"), tmp_path / "archive"
    assert archive(recordings, file, output) == 0
    text = (ROOT / "docs" / "archives.md").read_text()
    queries = [part.partition("```")[0] for part in text.split("```sql\n")[1:]]
    assert queries
    for query in queries:
        own = query.replace("archive/", f"{output}/").replace("person", "red")
        assert duckdb.sql(own).fetchall(), query


def die_once(marker: str) -> str:
    """Work that kills whoever does it the first time."""
    path = Path(marker)
    if path.name.startswith("deadly") or (path.name.startswith("once") and not path.exists()):
        path.write_text("dead")
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def test_a_process_that_dies_takes_nothing_with_it(tmp_path: Path) -> None:
    jobs = [str(tmp_path / name) for name in ("a", "once-b", "c", "deadly-d", "e", "once-f", "g")]
    with LocalWorkers(2) as workers:
        results = dict(workers.run(die_once, jobs))
    assert sorted(results) == sorted(jobs)
    crashed = [Path(job).name for job, result in results.items() if isinstance(result, Crashed)]
    assert crashed == ["deadly-d"]


def test_only_one_run_works_on_an_archive(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgeseg.tools.archive.store import ArchiveLock

    with ArchiveLock(tmp_path / "out"):
        assert archive(recordings, pipeline(tmp_path, "x.mp4"), tmp_path / "out") == 2
    assert "another run works on this archive" in capsys.readouterr().err


NOON = datetime(2026, 11, 22, 12, 0, 5, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("name", "patterns", "zone", "created_at_s", "expected", "source"),
    [
        ("yard/2026-11-22_12-00-05.mp4", USUAL_NAMES, "UTC", 1.0, NOON, "name"),
        ("yard-20261122-130005-0001.mp4", USUAL_NAMES, "Europe/Berlin", None, NOON, "name"),
        ("cam_20261122120005.mp4", USUAL_NAMES, "UTC", None, NOON, "name"),
        ("22.11.2026 12h00m05.mp4", ("%d.%m.%Y %Hh%Mm%S",), "UTC", None, NOON, "name"),
        ("rec-1795348805.mp4", ("%s",), "Europe/Berlin", None, NOON, "name"),
        ("2026-13-22_12-00-05.mp4", USUAL_NAMES, "UTC", 7.0, 7.0, "container"),
        ("9920261122120005123.mp4", USUAL_NAMES, "UTC", None, 970.0, "file"),
        ("evening.mp4", USUAL_NAMES, "UTC", None, 970.0, "file"),
    ],
)
def test_when_a_recording_began(
    name: str, patterns: tuple[str, ...], zone: str, created_at_s: float | None, expected: float, source: str
) -> None:
    plan = SegmentPlan(name, 1, 1000 * 10**9, 30.0, created_at_s, None, ())
    found = beginning(name, plan, patterns, ZoneInfo(zone))
    assert (found.utc_s, found.source) == (expected, source)


@pytest.mark.parametrize("pattern", ["%Y-%m-%d", "%Q", "%H-%M"])
def test_a_pattern_that_says_no_moment_is_refused(pattern: str) -> None:
    with pytest.raises(EdgesegError, match="--names"):
        check_pattern(pattern)


@pytest.mark.parametrize(
    ("name", "camera"),
    [
        ("yard/a.mp4", "yard"),
        ("yard/2026/gate/a.mp4", "gate"),
        ("yard-2_0001.mp4", "yard-2"),
        ("yard_0001.mp4", "yard"),
        ("yardstick.mp4", None),
        ("a.mp4", None),
    ],
)
def test_whose_recording_it_is(name: str, camera: str | None) -> None:
    assert camera_of(name, ["yard", "yard-2", "gate"]) == camera


def test_a_list_may_say_whose(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("# of today\nyard/a.mp4\nb.mp4\tgate\nc.mp4\n")
    found = find(listed, ["yard", "gate"], None)
    assert [(clip.name, clip.camera) for clip in found.clips] == [("b.mp4", "gate"), ("yard/a.mp4", "yard")]
    assert found.clips[0].path == str(tmp_path / "b.mp4")
    assert found.unassigned == ("c.mp4",)

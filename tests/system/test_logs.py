"""Log lines: for people, as JSON, and with the priorities that journald reads."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgeseg.system.logs import JsonLines, Prioritised, is_journal, priority
from edgeseg.system.redaction import Redaction

# As a program that logs and fails: what arrives at the other end of standard error.
PROGRAM = """
import logging, os, sys
from edgeseg.system.logs import log_to_stderr
from edgeseg.system.redaction import Redaction
if sys.argv[2] == "journal":
    found = os.fstat(2)
    os.environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
log_to_stderr(sys.argv[1], logging.DEBUG, Redaction(["hunter2"]))
log = logging.getLogger("edgeseg.runtime.capture_loop")
log.info("camera %s: opened", "yard")
try:
    raise ValueError("rtsp://viewer:hunter2@10.0.0.5 said no\\nand more")
except ValueError:
    log.critical("a worker failed", exc_info=True)
"""


def lines(style: str, *, journal: bool) -> list[str]:
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, style, "journal" if journal else "file"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "JOURNAL_STREAM": "1:1"},
    )
    assert "hunter2" not in answer.stderr
    return answer.stderr.splitlines()


def test_people_see_time_and_level() -> None:
    first = lines("text", journal=False)[0]
    assert first.endswith(" INFO camera yard: opened")
    assert first[:2] == "20", "the year"


def test_journald_reads_a_priority_on_every_line_and_has_its_own_time() -> None:
    said = lines("text", journal=True)
    assert said[0] == "<6>camera yard: opened"
    assert said[1] == "<2>a worker failed"
    assert said[2] == "<2>Traceback (most recent call last):"
    assert all(line.startswith("<2>") for line in said[1:])


@pytest.mark.parametrize("journal", [False, True])
def test_json_is_one_object_a_line(journal: bool) -> None:
    said = lines("json", journal=journal)
    assert len(said) == 2, "a traceback stays within its line"
    if journal:
        assert [line[:3] for line in said] == ["<6>", "<2>"]
    first, second = (json.loads(line[3:] if journal else line) for line in said)
    assert first.pop("at").endswith("Z")
    assert first == {
        "level": "info",
        "logger": "edgeseg.runtime.capture_loop",
        "thread": "MainThread",
        "message": "camera yard: opened",
    }
    assert second["level"] == "critical"
    assert "ValueError" in second["exception"]
    assert "***" in second["exception"]


def test_every_level_has_a_priority() -> None:
    levels = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
    assert [priority(level) for level in levels] == [7, 6, 4, 3, 2]
    assert priority(logging.INFO + 5) == 6


def test_an_inherited_variable_does_not_make_a_file_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "log").open("w") as stream:
        monkeypatch.setenv("JOURNAL_STREAM", "8:12345")
        assert not is_journal(stream)
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        assert is_journal(stream)


def test_json_without_redaction_has_the_exception_too() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        record = logging.LogRecord("edgeseg", logging.ERROR, "", 0, "failed", None, sys.exc_info())
    assert "ValueError: no" in json.loads(JsonLines().format(record))["exception"]
    assert Redaction().filter(record)
    assert Prioritised(JsonLines()).format(record).startswith('<3>{"at":')


def test_run_logs_json(tiny_clip: Path, tmp_path: Path) -> None:
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(f"node: n\ncameras:\n  yard:\n    source: {tmp_path}/no-such.mp4\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeseg", "run", "--log", "json", str(pipeline)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
    )
    assert process.stderr is not None
    first = json.loads(process.stderr.readline())
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert (first["level"], first["logger"]) == ("info", "edgeseg.daemon")
    assert "node n" in first["message"]


@pytest.mark.parametrize("journal", [False, True])
def test_why_a_service_did_not_start_is_an_error_in_the_journal(tmp_path: Path, journal: bool) -> None:
    err = (tmp_path / "err").open("w+")
    found = os.fstat(err.fileno())
    stream = f"{found.st_dev}:{found.st_ino}" if journal else "1:1"
    with err:
        code = subprocess.call(
            [sys.executable, "-m", "edgeseg", "run", "no-such.yaml"],
            stderr=err,
            cwd=tmp_path,
            env={**os.environ, "JOURNAL_STREAM": stream},
        )
    assert code == 2
    assert (tmp_path / "err").read_text().startswith("<3>no-such.yaml" if journal else "no-such.yaml")

"""``edgeseg.testing``: what users test their pipeline files with, tried as they would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgeseg.errors import EdgesegError
from edgeseg.testing import replayed, watch
from tests.conftest import TESTS
from tests.support.tiny_models import Convention, write_model

RECORDINGS = TESTS / "recordings"
PIPELINE = """\
model: tiny/model.yaml
groups: {warm: [red, green]}
cameras:
  yard:
    source: rtsp://10.0.0.5/
    rate: 5
    zones:
      bay:
        polygon: [[0, 0], [1, 0], [1, 1]]
        rules:
          blocked: {occupied: [warm], enter: 20 %, leave: 10 %, for: 10 s, clear: 5 s, on_unknown: end}
          repainted: {changed: dominant, reference: blue, for: 2 s}
      night:
        polygon: [[0, 0], [1, 0], [1, 1]]
        rules:
          seen: {occupied: [red], for: 0 s, clear: 0 s, hours: "22:00-06:00", timezone: UTC}
"""


@pytest.fixture
def yard(tmp_path: Path) -> Path:
    write_model(tmp_path / "tiny", Convention())
    file = tmp_path / "yard.yaml"
    file.write_text(PIPELINE)
    return file


def test_a_rule_in_three_lines(yard: Path) -> None:
    bay = watch(yard, zone="bay")
    bay.shows("12 s", warm="30 %", blue="60 %").shows("6 s", blue="100 %")
    assert bay.told == [("blocked", "new", 10.0), ("blocked", "end", 17.2)]


def test_what_is_shown_too_shortly_is_not_told(yard: Path) -> None:
    bay = watch(yard, zone="bay").shows("9 s", red="30 %", blue="70 %").shows("1 s", blue="100 %")
    assert bay.told == []
    assert bay.states == {"blocked": "OFF", "repainted": "OFF"}
    assert bay.shows("5 s", red="80 %").is_on("repainted")


def test_unknown_is_a_state_of_its_own(yard: Path) -> None:
    bay = watch(yard, zone="bay").shows("10 s", red="30 %", blue="70 %").unknown("1 s")
    assert bay.told == [("blocked", "new", 10.0), ("blocked", "end", 10.2)]
    assert bay.alerts[-1].end_reason == "unknown"
    assert bay.states["blocked"] == "unknown"


def test_hours_are_those_of_the_beginning(yard: Path) -> None:
    assert watch(yard, zone="night").shows("2 s", red="50 %").told == []
    night = watch(yard, zone="night", at="2026-11-22T23:30:00+01:00")
    assert night.shows("2 s", red="50 %").told == [("seen", "new", 0.0)]


@pytest.mark.parametrize(
    ("zone", "shares", "says"),
    [
        ("buy", {}, "has no zone buy; did you mean 'bay'"),
        ("bay", {"reed": "10 %"}, "no such class; did you mean 'red'"),
        ("bay", {"red": "60 %", "green": "50 %"}, "add up to 110 %"),
    ],
)
def test_a_mistake_in_a_test_is_named(zone: str, shares: dict[str, str], says: str, yard: Path) -> None:
    with pytest.raises(EdgesegError, match=says):
        watch(yard, zone=zone).shows("1 s", shares)


def test_a_recording_of_a_real_camera() -> None:
    told = replayed(RECORDINGS / "people.jsonl", RECORDINGS / "people.yaml")
    assert [event for _, event, _ in told] == ["new", "end"] * 4 + ["new"]
    assert told[:2] == [("standing", "new", 14.0), ("standing", "end", 49.0)]


def test_the_fixtures_take_paths_from_the_tests_folder(yard: Path) -> None:
    (yard.parent / "test_yard.py").write_text(
        "def test_blocked(edgeseg_zone):\n"
        "    bay = edgeseg_zone('yard.yaml', zone='bay')\n"
        "    assert bay.shows('10 s', warm='30 %').told[-1] == ('blocked', 'new', 10.0)\n"
        "def test_people(edgeseg_replay):\n"
        f"    assert len(edgeseg_replay({str(RECORDINGS / 'people.jsonl')!r}, "
        f"{str(RECORDINGS / 'people.yaml')!r})) == 9\n"
    )
    # Named, since an entry point is only there once edgeseg was installed anew.
    plugins = ["-p", "no:cacheprovider", "-p", "edgeseg.pytest_plugin"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, str(yard.parent)]
    answer = subprocess.run(command, cwd=yard.parent, capture_output=True, text=True, timeout=280)
    assert "2 passed" in answer.stdout, answer.stdout + answer.stderr


def test_a_test_run_that_does_not_ask_for_it_loads_nothing() -> None:
    program = "import sys, edgeseg.pytest_plugin; print([n for n in sys.modules if n.startswith('edgeseg')])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=280)
    assert answer.stdout.strip() == "['edgeseg', 'edgeseg.pytest_plugin']"

"""``make faults`` runs all of this folder; ``make test`` only what is marked ``quick``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.faults.clips import blinking_clip
from tests.faults.ledger import Row, save, table

FOLDER = Path(__file__).parent
WHOLE_SUITE = os.environ.get("EDGESEG_FAULTS") == "all"
JSON_FILE = os.environ.get("EDGESEG_FAULTS_JSON")
PROPERTY = "fault"

Note = Callable[[Row], None]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "quick: a fault of the short selection that `make test` runs")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if WHOLE_SUITE:
        # One after the other, as they measure times; only what does nothing but wait goes beside them.
        for item in items:
            if FOLDER in item.path.parents and not item.get_closest_marker("xdist_group"):
                item.add_marker(pytest.mark.xdist_group("measures"))
        return
    later = [item for item in items if FOLDER in item.path.parents and not item.get_closest_marker("quick")]
    for item in items:
        # They count every blink of a camera, and the seconds until all is well again.
        if FOLDER in item.path.parents and item.path.name != "test_fuzz.py":
            item.add_marker(pytest.mark.alone)
    if later:
        config.hook.pytest_deselected(items=later)
        items[:] = [item for item in items if item not in later]


@pytest.fixture(scope="module")
def blink(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return blinking_clip(tmp_path_factory.mktemp("clips") / "blink.mp4")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Note:
    """Put a fault into the table at the end; before the assertions, so that a failure shows its figures."""
    return lambda row: record_property(PROPERTY, json.dumps(asdict(row)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = []
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                found = [json.loads(value) for name, value in report.user_properties if name == PROPERTY]
                rows += [Row(**(fields | {"passed": report.outcome == "passed"})) for fields in found]
    if rows:
        rows.sort(key=lambda row: row.area)
        terminalreporter.section("faults")
        terminalreporter.write_line(table(rows))
    if rows and JSON_FILE:
        save(rows, Path(JSON_FILE))

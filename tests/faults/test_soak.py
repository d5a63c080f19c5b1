"""A short soak: its machinery works, and what can be told in a minute holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.timeout(400)
def test_a_minute(tmp_path: Path) -> None:
    arguments = ["soak", "--minutes", "1", "--seed", "4", "--output", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-m", "edgeseg", *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )
    document = json.loads((tmp_path / "soak.json").read_text())
    # Memory still warms up in the first minutes.
    broken = [one for one in document["checks"] if not one["passed"] and "memory" not in one["name"]]
    assert not broken, ended.stdout
    assert sum(document["faults"].values()) >= 4
    assert len(document["samples"]) > 30

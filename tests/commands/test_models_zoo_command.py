"""``edgeseg models train | import | quantize`` without their extra: one line that says how to get it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeseg.cli import main
from tests.conftest import ROOT

WITHOUT_TORCH = """\
import sys

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

sys.meta_path.insert(0, Refuses())
from edgeseg.cli import main

sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "fine-tune", "--data", "d", "--out", "o"),
        ("import", "x.pt", "--name", "x"),
        ("quantize", "deeplabv3plus-mnv2-camvid", "--frames", "."),
    ],
    ids=lambda arguments: arguments[0],
)
def test_the_extra_is_missing(arguments: tuple[str, ...], tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, "models", *arguments],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"edgeseg: `edgeseg models {arguments[0]}` needs ")
    assert "pip install torch==2.13.0 && pip install 'edgeseg[zoo]' (in this order)" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("action", ["train", "import", "quantize"])
def test_help_needs_no_extra(action: str) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, "models", action, "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert ended.returncode == 0
    assert "--" in ended.stdout


@pytest.mark.parametrize(
    ("option", "value"), [("--steps", "0"), ("--steps", "-3"), ("--minutes", "0"), ("--minutes", "inf")]
)
def test_training_has_an_end(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["models", "train", "fine-tune", "--data", "d", "--out", "o", option, value])
    assert f"argument {option}: got {value}, expected " in capsys.readouterr().err

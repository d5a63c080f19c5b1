"""An installed edgeseg has its models and pipelines with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, as pip would unpack it."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def edgeseg(site: Path, *arguments: str) -> str:
    # Somewhere else than the checkout, so that nothing of it is found by accident.
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    answer = subprocess.run(
        [sys.executable, "-m", "edgeseg", *arguments],
        cwd=site,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_models_are_found(installed: Path) -> None:
    models = json.loads(edgeseg(installed, "models", "list", "--json"))["models"]
    assert {model["name"] for model in models} >= {"deeplabv3-mnv2-pascal", "deeplab-mnv2-cityscapes"}
    assert all(str(installed) in model["folder"] for model in models)


def test_pipelines_are_there_and_right(installed: Path) -> None:
    files = sorted((installed / "edgeseg" / "share" / "pipelines").glob("*.yaml"))
    assert {file.name for file in files} == {file.name for file in (ROOT / "pipelines").glob("*.yaml")}
    assert "ok" in edgeseg(installed, "check", str(files[0]))


def test_type_checkers_see_its_types(installed: Path) -> None:
    # PEP 561
    assert (installed / "edgeseg" / "py.typed").is_file()


def test_nothing_that_was_pulled_is_shipped(installed: Path) -> None:
    ignored = subprocess.run(
        ["git", "ls-files", "--others", "--ignored", "--exclude-standard", "models"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    shipped = {path.name for path in (installed / "edgeseg" / "share" / "models").rglob("*")}
    assert not shipped & {Path(name).name for name in ignored}
    assert (installed / "edgeseg" / "share" / "systemd" / "edgeseg@.service").is_file()

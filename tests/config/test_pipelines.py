"""The pipeline files that ship: each is right, and says in its comments only what is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgeseg import config
from edgeseg.config.addresses import VARIABLE
from edgeseg.models import registry
from tests.conftest import ROOT

FOLDER = ROOT / "pipelines"
FILES = sorted(FOLDER.glob("*.yaml"))


def test_all_are_there() -> None:
    assert {path.stem for path in FILES} >= {
        "entrance",
        "loading-bay",
        "road",
        "coral",
        "jetson",
        "desktop-gpu",
        "eight-cameras",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_passes_the_check_without_a_note(path: Path) -> None:
    settings = config.load(path)
    assert config.lint_warnings(settings, registry.find) == ()
    assert all(zone.rules for camera in settings.cameras for zone in camera.zones)


# The demo brings its own clip and network.
@pytest.mark.parametrize("path", [path for path in FILES if path.stem != "demo"], ids=lambda path: path.stem)
def test_its_comments_name_what_it_needs(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    comments = " ".join(re.findall(r"#.*", text))
    settings = config.load(path)
    for camera in settings.cameras:
        assert f"edgeseg models pull {camera.model}" in comments
        for variable in VARIABLE.findall(camera.source.template):
            assert f"{variable}='...'" in comments
    assert f"pipelines/{path.name}" in comments
    assert max(map(len, text.splitlines())) <= 120


def test_eight_cameras_are_eight_and_share_their_zones() -> None:
    cameras = {camera.name: camera for camera in config.load(FOLDER / "eight-cameras.yaml").cameras}
    assert len(cameras) == 8
    assert cameras["gate_in"].zones == cameras["gate_out"].zones
    assert cameras["dock_1"].zones == cameras["dock_4"].zones
    assert cameras["dock_1"].source != cameras["dock_4"].source


def test_the_group_of_the_road_counts_traffic_as_road() -> None:
    (camera,) = config.load(FOLDER / "road.yaml").cameras
    covered, different = camera.zones[0].rules
    assert covered.kind == different.kind == "changed"
    assert {"road", "car", "bus"} <= set(covered.classes)
    assert different.reference_classes == ("road",)

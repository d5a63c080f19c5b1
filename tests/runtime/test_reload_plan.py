"""What a new pipeline file changes, decided before anything is touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgeseg import config
from edgeseg.rules import RuleId
from edgeseg.runtime.engine_pool import Need, needs_of
from edgeseg.runtime.reload import Configured, ReloadPlan, plan
from edgeseg.settings import PipelineSettings
from tests.support.tiny_models import Convention, write_model

CAMERA = """\
  {name}:
    source: clip.mp4
    rate: {rate}
    zones:
      door:
        polygon: [[0, 0], [1, 0], [1, 1], [0, 1]]
        rules:
          near: {{occupied: [{red}], enter: {enter} %, for: 1 s}}
          far: {{occupied: [{red}], enter: 80 %, for: 1 s}}
"""


def settings(folder: Path, *cameras: str, head: str = "") -> PipelineSettings:
    file = folder / "pipeline.yaml"
    (folder / "clip.mp4").touch()
    file.write_text(f"node: test\nmodel: {folder / 'tiny'}\n{head}cameras:\n" + "".join(cameras))
    return config.load(file)


def camera(name: str, rate: int = 5, enter: int = 50) -> str:
    return CAMERA.format(name=name, rate=rate, enter=enter, red="red")


def running(old: PipelineSettings, needs: dict[str, Need]) -> dict[str, Configured]:
    return {
        one.name: Configured(one, needs[one.name].key, needs[one.name].model.classes) for one in old.cameras
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path / "tiny", Convention())
    return tmp_path


def planned(
    folder: Path, before: list[str], after: list[str], heads: tuple[str, str] = ("", "")
) -> ReloadPlan:
    old = settings(folder, *before, head=heads[0])
    there = running(old, needs_of(old))
    new = settings(folder, *after, head=heads[1])
    return plan(old, new, there, needs_of(new))


def test_a_camera_that_did_not_change_is_kept(folder: Path) -> None:
    found = planned(folder, [camera("a"), camera("b")], [camera("b"), camera("a")])
    assert found == ReloadPlan(frozenset({"a", "b"}), (), frozenset(), (), {})


def test_a_camera_comes_and_another_goes(folder: Path) -> None:
    found = planned(folder, [camera("a"), camera("b")], [camera("b"), camera("c")])
    assert (found.kept, found.stopped, found.removed) == (frozenset({"b"}), ("a",), frozenset({"a"}))
    assert [one.name for one in found.started] == ["c"]
    assert found.carried == {"a": frozenset()}


def test_a_camera_that_changed_is_built_anew_and_its_unchanged_rules_go_on(folder: Path) -> None:
    found = planned(folder, [camera("a")], [camera("a", rate=2, enter=40)])
    assert (found.stopped, found.removed) == (("a",), frozenset())
    assert [one.rate_fps for one in found.started] == [2]
    assert found.carried == {"a": frozenset({RuleId("door", "far")})}


def test_other_groups_concern_every_camera(folder: Path) -> None:
    found = planned(folder, [camera("a")], [camera("a")], ("", "groups: {warm: [red]}\n"))
    assert (found.kept, found.stopped) == (frozenset(), ("a",))
    assert found.carried == {"a": frozenset({RuleId("door", "near"), RuleId("door", "far")})}


def test_other_classes_end_what_rules_knew(folder: Path) -> None:
    old = settings(folder, camera("a"))
    needs = needs_of(old)
    there = {
        name: replace(one, classes=("other",), settings=replace(one.settings, priority=7))
        for name, one in running(old, needs).items()
    }
    assert plan(old, old, there, needs).carried == {"a": frozenset()}

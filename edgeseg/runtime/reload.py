"""Reload: what a new pipeline file changes, decided before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeseg.rules import RuleId, unchanged
from edgeseg.runtime.engine_pool import EngineKey, Need
from edgeseg.settings import CameraSettings, PipelineSettings


@dataclass(frozen=True, slots=True)
class Configured:
    """What a running camera was built of. classes: of its model."""

    settings: CameraSettings
    key: EngineKey
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReloadPlan:
    """What happens to each camera. All cameras of both files are in ``kept``, ``stopped`` or ``started``.

    Args:
        kept: notice nothing.
        stopped: end; their successors, if any, are in ``started``.
        removed: those of ``stopped`` that have no successor.
        started: are built from the new file, in its order.
        carried: camera of ``stopped`` -> the rules whose memory its successor goes on with.
    """

    kept: frozenset[str]
    stopped: tuple[str, ...]
    removed: frozenset[str]
    started: tuple[CameraSettings, ...]
    carried: Mapping[str, frozenset[RuleId]]


def plan(
    old: PipelineSettings,
    new: PipelineSettings,
    running: Mapping[str, Configured],
    needs: Mapping[str, Need],
) -> ReloadPlan:
    """Compare two files. A pure function.

    A camera is kept where its settings, its model and the groups of classes are the same. The memory of a
    rule lives on where the rule and its zone are the same and the model has the same classes.

    Args:
        running: the cameras of ``old`` that are there, by name.
        needs: what the cameras of ``new`` need, by name.
    """
    cameras = {camera.name: camera for camera in new.cameras}
    kept = frozenset(
        name
        for name, camera in cameras.items()
        if name in running
        and old.groups == new.groups
        and (running[name].settings, running[name].key) == (camera, needs[name].key)
    )
    stopped = tuple(name for name in running if name not in kept)
    carried = {
        # Other classes give old memories another meaning.
        name: unchanged(running[name].settings.zones, cameras[name].zones)
        if name in cameras and running[name].classes == needs[name].model.classes
        else frozenset[RuleId]()
        for name in stopped
    }
    return ReloadPlan(
        kept=kept,
        stopped=stopped,
        removed=frozenset(name for name in stopped if name not in cameras),
        started=tuple(camera for camera in new.cameras if camera.name not in kept),
        carried=carried,
    )

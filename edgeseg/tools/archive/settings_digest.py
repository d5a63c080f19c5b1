"""Settings digest: a hash of everything that decides what is measured in a recording."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgeseg import __version__
from edgeseg.engines import measurement_cache
from edgeseg.engines.select import candidates, choose
from edgeseg.errors import EdgesegError
from edgeseg.models import registry
from edgeseg.models.model import Artefact, Model, Precision
from edgeseg.models.runtimes import AUTO
from edgeseg.settings import CameraSettings, SourceUrl

_NOWHERE = SourceUrl("", None, "")


@dataclass(frozen=True, slots=True)
class Measuring:
    """How to measure one camera: the same on every machine. camera: without source and rules; its engine is
    named. digest: of all this, of the weights and of edgeseg's version."""

    camera: CameraSettings
    groups: Mapping[str, tuple[str, ...]]
    input_size_px: tuple[int, int]
    precision: Precision
    digest: str


def measuring_of(camera: CameraSettings, groups: Mapping[str, tuple[str, ...]]) -> Measuring:
    """Every picture at the camera's rate is analysed, each by itself: gate, picture health and ``steady``
    have no part in it. Raises EdgesegError where the camera's engine is a server, and what finding a model
    raises.
    """
    if camera.remote is not None:
        raise EdgesegError(
            f"camera {camera.name}: engine {camera.engine} is no engine for archives, whose workers run the "
            "network themselves; name a local one with --engine"
        )
    model = registry.find(camera.model)
    engine, artefact = _engine(model, camera)
    stripped = replace(
        camera,
        source=_NOWHERE,
        engine=engine,
        priority=0,
        max_age_s=None,
        gate=None,
        decode="software",
        steady=False,
        health=None,
        evidence=None,
        repeat=False,
        zones=tuple(replace(zone, title="", rules=()) for zone in camera.zones),
    )
    size_px = camera.input_size_px or artefact.input.size_px
    return Measuring(stripped, groups, size_px, artefact.precision, digest(stripped, groups, model, artefact))


def digest(
    camera: CameraSettings, groups: Mapping[str, tuple[str, ...]], model: Model, artefact: Artefact
) -> str:
    """16 hexadecimal digits."""
    parts = (
        __version__,
        sorted(blob.sha256 for blob in artefact.blobs),
        model.classes,
        replace(camera, name="", model=""),
        sorted(groups.items()),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _engine(model: Model, camera: CameraSettings) -> tuple[str, Artefact]:
    """Which engine runs it, here and everywhere: what ``auto`` means differs from machine to machine."""
    name, artefact = choose(model, camera.engine, camera.input_size_px)
    if camera.engine == AUTO:
        size_px = camera.input_size_px or artefact.input.size_px
        best = measurement_cache.choice(model, size_px, 1, candidates(model, size_px))
        if best is not None:
            return best.engine, best.artefact
    return name, artefact

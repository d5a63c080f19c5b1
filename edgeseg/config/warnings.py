"""Warnings: what a pipeline file may have but its author probably does not want."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from edgeseg.config.addresses import VARIABLE
from edgeseg.models.model import Model
from edgeseg.settings import CameraSettings, PipelineSettings
from edgeseg.sources.gstreamer import launch_line

_LITERAL_PASSWORD = re.compile(r"://[^/?#@]*:[^/?#@]+@")


def lint_warnings(settings: PipelineSettings, find_model: Callable[[str], Model]) -> tuple[str, ...]:
    """Return the warnings of a valid pipeline file, one line each.

    find_model: name or path -> a model that is known to exist.
    """
    found = [line for camera in settings.cameras for line in _of_camera(camera, find_model(camera.model))]
    mqtt = settings.mqtt
    if mqtt is not None and mqtt.password_file is not None and not mqtt.tls:
        found.append("mqtt.url: the password crosses the network unencrypted; mqtts:// encrypts it")
    return tuple(found)


def _of_camera(camera: CameraSettings, model: Model) -> Iterator[str]:
    at = f"cameras.{camera.name}"
    bare = VARIABLE.sub("", camera.source.template)
    pipeline = launch_line.pipeline_of(bare)
    if _LITERAL_PASSWORD.search(bare) or (pipeline is not None and launch_line.secrets(pipeline)):
        yield f"{at}.source: a password stands in the file; ${{VAR}} would take it from the environment"
    if camera.evidence is not None and camera.evidence.clip and camera.evidence.pictures != "full":
        yield (
            f"{at}.evidence: clips show people as the camera does; `{camera.evidence.pictures}` is about "
            "pictures alone"
        )
    if not camera.zones:
        yield f"{at}: has no zones, so nothing of it is measured"
    has_confidence = any(artefact.output.form != "labels" for artefact in model.artefacts)
    for zone in camera.zones:
        for rule in zone.rules:
            if rule.hours is not None and rule.hours.timezone is None:
                yield (
                    f"{at}.zones.{zone.name}.rules.{rule.name}.hours: are taken as UTC; write timezone: "
                    "Europe/Rome or whichever is meant, or timezone: UTC"
                )
        if zone.confidence_floor > 0 and not has_confidence:
            yield (
                f"{at}.zones.{zone.name}.confidence: the model {model.name} tells no confidence, so "
                "nothing will count as uncertain"
            )

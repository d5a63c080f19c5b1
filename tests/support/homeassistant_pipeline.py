"""A pipeline file with everything that becomes something in Home Assistant."""

from __future__ import annotations

from pathlib import Path

from edgeseg import config
from edgeseg.models import registry
from edgeseg.publish.homeassistant.discovery import devices
from edgeseg.publish.homeassistant.entities import Json
from edgeseg.settings import PipelineSettings

BASE = "edgeseg/gatehouse"
ABOVE = "homeassistant/device/edgeseg-gatehouse"

PIPELINE = """\
node: gatehouse
mqtt: {url: "mqtt://127.0.0.1:1883"}
homeassistant: on
model: deeplabv3plus-mnv2-camvid
groups: {vehicle: [car, bicyclist]}
cameras:
  yard:
    source: rtsp://10.0.0.5/stream2
    zones:
      gate:
        name: Loading bay
        polygon: [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]
        rules:
          blocked: {occupied: [vehicle], enter: 20 %, leave: 10 %, for: 10 s}
          flooded: {changed: {from: road}, enter: 50 %, leave: 70 %, for: 30 s}
      door:
        polygon: [[0.1, 0.1], [0.2, 0.1], [0.2, 0.2]]
        rules:
          unguarded: {absent: [pedestrian], enter: 0.5 %, leave: 2 %, for: 5 min}
  back-yard:
    source: rtsp://10.0.0.6/stream2
    zones:
      lawn:
        polygon: [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]
"""


def settings_of(text: str, folder: Path) -> PipelineSettings:
    path = folder / "gatehouse.yaml"
    path.write_text(text, encoding="utf-8")
    return config.load(path)


def devices_of(settings: PipelineSettings) -> dict[str, Json]:
    classes_of = {camera.model: registry.find(camera.model).classes for camera in settings.cameras}
    return devices(settings, BASE, classes_of)

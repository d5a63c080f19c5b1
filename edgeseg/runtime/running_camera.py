"""One camera of the daemon and what works for it."""

from __future__ import annotations

from dataclasses import dataclass

from edgeseg.models.model import Model
from edgeseg.runtime.capture_loop import LiveCapture
from edgeseg.runtime.engine_pool import EngineKey
from edgeseg.settings import CameraSettings, FitName


@dataclass(frozen=True, slots=True, eq=False)
class RunningCamera:
    """One camera and what works for it."""

    settings: CameraSettings
    live: LiveCapture
    model: Model
    key: EngineKey
    fit: FitName

"""Workload: the same zones, rules and pictures every time, from one seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from edgeseg import config
from edgeseg.errors import ConfigError, ModelError
from edgeseg.frames import U8, Fit, LabelMap
from edgeseg.models import registry
from edgeseg.models.model import Model
from edgeseg.settings import PipelineSettings
from edgeseg.system.paths import cache_dir

SEED = 20_261_122
ZONES = 16
RATE_FPS = 5
# Sides of a zone, as shares of the picture's.
_ZONE_SIDE = (0.15, 0.3)

SEGFORMER, DEEPLAB = "bench-segformer-b0-150", "bench-deeplabv3plus-21"
SHIPPED = "deeplabv3plus-mnv2-camvid"
HOW_TO_MAKE = "pip install 'edgeseg[zoo]' && python -m edgeseg.zoo.workloads"


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A model and, beside its artefacts, the float graph that the naive way runs; None where none is."""

    model: Model
    naive: Path | None

    @property
    def size_px(self) -> tuple[int, int]:
        return self.model.input.size_px


def home() -> Path:
    """Where bench keeps its networks and clips."""
    return cache_dir() / "bench"


def network(name: str) -> Network:
    """A model by name or path; the bench's own are looked for in ``home()`` first. Raises ModelError."""
    own = home() / name
    made = (own / "model.yaml").is_file()
    try:
        model = registry.find(str(own) if made else name)
    except (ModelError, ConfigError) as error:
        if name in (SEGFORMER, DEEPLAB):
            reason = str(error) if made else f"no model '{name}' in {home()}"
            raise ModelError(f"{reason}; make it with `{HOW_TO_MAKE}`") from None
        raise ModelError(str(error)) from None
    beside = model.folder / "naive.onnx"
    return Network(model, beside if beside.is_file() else None)


def polygons(count: int = ZONES) -> dict[str, list[tuple[float, float]]]:
    """Zone name -> slanted quadrilaterals in 0-1 coordinates of the picture, overlapping like people draw."""
    random = np.random.default_rng(SEED)
    found = {}
    for number in range(count):
        width, height = random.uniform(*_ZONE_SIDE, 2)
        left, top = random.uniform(0, 1 - width), random.uniform(0, 1 - height)
        slant = random.uniform(0, 0.15) * width
        corners = [
            (left, top),
            (left + width - slant, top),
            (left + width, top + height),
            (left + slant, top + height),
        ]
        found[f"zone{number:03}"] = [(round(float(x), 4), round(float(y), 4)) for x, y in corners]
    return found


def pipeline_text(
    model: Model, sources: list[str], *, engine: str = "auto", gate: bool = False, zones: int = ZONES,
    input_size_px: tuple[int, int] | None = None, rate_fps: float = RATE_FPS,
) -> str:  # fmt: skip
    """A pipeline file: one camera for each source, ``zones`` zones with a rule each."""
    rule = {"occupied": [model.classes[-1]], "enter": "20 %", "leave": "10 %", "for": "10 s", "clear": "10 s"}
    drawn = {
        name: {"polygon": [list(corner) for corner in polygon], "rules": {"busy": rule}}
        for name, polygon in polygons(zones).items()
    }
    cameras: dict[str, Any] = {}
    for number, source in enumerate(sources):
        camera: dict[str, Any] = {"source": source, "rate": rate_fps, "fit": "stretch", "zones": drawn}
        camera["gate"] = {"refresh": "30 s"} if gate else False
        if input_size_px is not None:
            camera["input"] = f"{input_size_px[0]}x{input_size_px[1]}"
        cameras[f"cam{number:02}"] = camera
    file = {"node": "bench", "model": str(model.folder.resolve()), "engine": engine, "cameras": cameras}
    # Without aliases: people read these files, and so does edgeseg.
    dumper = type("Plain", (yaml.SafeDumper,), {"ignore_aliases": lambda self, data: True})
    return str(yaml.dump(file, Dumper=dumper, sort_keys=False))


def settings(folder: Path, text: str) -> PipelineSettings:
    """The pipeline file as edgeseg reads it. Raises ConfigError."""
    path = folder / "bench.yaml"
    path.write_text(text, encoding="utf-8")
    return config.load(path)


def smooth_pictures(count: int, size_px: tuple[int, int]) -> U8:
    """uint8 (count, h, w, 3): soft colours, as large areas of a real picture are."""
    random = np.random.default_rng(SEED)
    coarse = random.integers(0, 256, (count, 18, 32, 3)).astype(np.uint8)
    return np.stack([cv2.resize(view, size_px, interpolation=cv2.INTER_CUBIC) for view in coarse])


def label_map(classes: int, grid: tuple[int, int], fit: Fit, seed: int = SEED) -> LabelMap:
    """Areas of a few classes with curved edges, as networks draw them, and a confidence that falls there.

    grid: rows, columns.
    """
    random = np.random.default_rng(seed)
    shown = random.choice(classes, min(classes, 12), replace=False)
    fields = [
        cv2.resize(random.normal(size=(6, 8)).astype(np.float32), grid[::-1], interpolation=cv2.INTER_CUBIC)
        for _ in shown
    ]
    ranked = np.sort(np.stack(fields), axis=0)
    labels = shown[np.argmax(fields, axis=0)].astype(np.uint8)
    confidence = np.clip((ranked[-1] - ranked[-2]) * 200 + 90, 0, 255).astype(np.uint8)
    return LabelMap(labels[np.newaxis], confidence[np.newaxis], fit)

"""Make the networks that ``edgeseg bench`` compares with: ``python -m edgeseg.zoo.workloads``.

SegFormer-B0 with 150 classes and DeepLabV3+ MobileNetV2 with 21, at 512 x 512, with random weights: what they
cost does not depend on what they know. Each is written twice: ``naive.onnx``, the float graph as exporters
leave it (float NCHW in, logits out), and edgeseg's own artefacts with their manifest.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml

from edgeseg.errors import EdgesegError
from edgeseg.frames import U8
from edgeseg.models.manifest import MANIFEST
from edgeseg.system.paths import cache_dir
from edgeseg.zoo import export, networks, surgery
from edgeseg.zoo.networks.segformer import SegFormer
from edgeseg.zoo.quantize import quantize

SIZE_PX = 512
CALIBRATION_VIEWS = 4
SEED = 20_000


@dataclass(frozen=True, slots=True)
class Workload:
    """name: of the model's folder. network: of ``networks.NETWORKS``."""

    name: str
    title: str
    network: str
    classes: int


WORKLOADS = (
    Workload("bench-segformer-b0-150", "SegFormer-B0, 150 classes, random weights", "segformer", 150),
    Workload(
        "bench-deeplabv3plus-21", "DeepLabV3+ MobileNetV2, 21 classes, random weights", "deeplabv3plus", 21
    ),
)


def make(workload: Workload, folder: Path) -> None:
    """Write ``naive.onnx``, ``float.onnx``, ``int8.onnx`` and the manifest. Raises ModelError."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    network = networks.build(workload.network, workload.classes).eval()
    naive = export.to_onnx(network)
    export.save_model(naive, folder / "naive.onnx")
    graph = export.to_onnx(network.merged()) if isinstance(network, SegFormer) else naive
    surgery.to_deploy(graph, surgery.Normalisation())
    export.save_model(graph, folder / "float.onnx")
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "whole.onnx"
        export.save_model(graph, whole)
        quantize(whole, _views(), folder / "int8.onnx")
    (folder / MANIFEST).write_text(yaml.safe_dump(_manifest(workload, folder), sort_keys=False))


def _views() -> list[U8]:
    """Smooth colours from a fixed seed: enough for ranges of random weights."""
    random = np.random.default_rng(SEED)
    coarse = random.integers(0, 256, (CALIBRATION_VIEWS, 24, 24, 3)).astype(np.uint8)
    return [
        np.asarray(cv2.resize(view, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_CUBIC)) for view in coarse
    ]


def _manifest(workload: Workload, folder: Path) -> dict[str, object]:
    artefacts = []
    for precision in ("int8", "float"):
        data = (folder / f"{precision}.onnx").read_bytes()
        artefacts.append(
            {
                "file": f"{precision}.onnx",
                "format": "onnx",
                "precision": precision,
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        )
    colours = np.random.default_rng(SEED).integers(0, 256, (workload.classes, 3)).tolist()
    return {
        "name": workload.name,
        "title": workload.title,
        "licence": "Apache-2.0",
        "artefacts": artefacts,
        "input": {"name": surgery.INPUT, "size": f"{SIZE_PX}x{SIZE_PX}", "multiple_of": 32},
        "output": {"form": "deploy", "names": {"labels": surgery.LABELS, "confidence": surgery.CONFIDENCE}},
        "fit": "stretch",
        "classes": [{"name": f"class{index:03}", "colour": colour} for index, colour in enumerate(colours)],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m edgeseg.zoo.workloads", description=__doc__)
    parser.add_argument("--out", type=Path, help="default: where `edgeseg bench` looks, in the cache folder")
    options = parser.parse_args(arguments)
    try:
        for workload in WORKLOADS:
            folder = (options.out or cache_dir() / "bench") / workload.name
            make(workload, folder)
            print(folder)
    except EdgesegError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

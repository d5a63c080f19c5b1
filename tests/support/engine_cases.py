"""Every convention an engine must cope with: tiny networks made here, real ones of the data folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml
from onnxruntime import get_available_providers

from edgeseg.models import registry
from edgeseg.models.model import Model
from tests.conftest import ROOT
from tests.support.tiny_models import Convention, write_model

IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
PLUS_MINUS_ONE = {"scale": 127.5, "mean": (1.0, 1.0, 1.0)}


@dataclass(frozen=True, slots=True)
class Tiny:
    """A tiny network: its convention, its file format, its precision."""

    convention: Convention
    suffix: str = "onnx"
    precision: str = "float"

    @property
    def engine(self) -> str:
        return "onnxruntime" if self.suffix == "onnx" else "litert"


TINY = {
    "onnx-nchw-float-logits": Tiny(Convention()),
    "onnx-nchw-imagenet-bgr": Tiny(Convention(colour="bgr", **IMAGENET)),
    "onnx-nhwc-uint8-logits": Tiny(Convention(layout="nhwc", dtype="uint8")),
    "onnx-nhwc-int8-logits": Tiny(Convention(layout="nhwc", dtype="int8", mean=(128.0, 128.0, 128.0))),
    "onnx-nchw-probabilities": Tiny(Convention(form="probabilities", **PLUS_MINUS_ONE)),
    "onnx-nchw-labels": Tiny(Convention(form="labels", **PLUS_MINUS_ONE)),
    "onnx-nhwc-uint8-deploy": Tiny(Convention(form="deploy", layout="nhwc", dtype="uint8")),
    "onnx-named-deploy": Tiny(
        Convention(form="deploy", output_names={"confidence": "confidence", "labels": "labels"})
    ),
    "onnx-nchw-mask": Tiny(Convention(form="mask", scale=255.0)),
    "onnx-free-size": Tiny(Convention(multiple_of=16)),
    "tflite-float-logits": Tiny(Convention(layout="nhwc", **PLUS_MINUS_ONE), "tflite"),
    "tflite-float-labels": Tiny(Convention(layout="nhwc", form="labels"), "tflite"),
    "tflite-int8-logits": Tiny(Convention(layout="nhwc", dtype="int8"), "tflite", "int8"),
    "tflite-int8-labels": Tiny(Convention(layout="nhwc", dtype="int8", form="labels"), "tflite", "int8"),
    "tflite-int8-mask": Tiny(Convention(layout="nhwc", dtype="int8", form="mask"), "tflite", "int8"),
    "tflite-free-size": Tiny(Convention(layout="nhwc", multiple_of=16), "tflite"),
}
REAL = (
    "deeplabv3-mnv2-pascal",
    "deeplabv3-mnv2-dm05-pascal",
    "deeplab-mnv2-cityscapes",
    "deeplabv3-257-float",
    "bodypix",
)


# The engines on OpenVINO that run on a CPU; the last needs another build of onnxruntime.
OPENVINO = (
    "openvino",
    "openvino-half",
    *(["onnxruntime-openvino"] if "OpenVINOExecutionProvider" in get_available_providers() else []),
)
_BARE_INTEGERS = ("tflite-int8-logits", "tflite-int8-labels", "tflite-int8-mask")


def readers(name: str) -> tuple[str, ...]:
    """The engines on a CPU that read one of TINY or REAL, the reference first."""
    onnx = name == "bodypix" or name.startswith("onnx")
    if name in _BARE_INTEGERS:
        return ("litert",)
    return ("onnxruntime", *OPENVINO) if onnx else ("litert", "openvino", "openvino-half")


def tiny(name: str, root: Path) -> Model:
    """Write one of TINY and read its manifest."""
    case = TINY[name]
    return registry.find(str(write_model(root / name, case.convention, case.suffix, case.precision)))


def real(name: str, root: Path, data_dir: Path) -> Model:
    """One of REAL with its weights, in a folder of its own under ``root``."""
    folder = root / name
    if not folder.exists():
        folder.mkdir(parents=True)
        shipped = ROOT / "models" / name / "model.yaml"
        document = yaml.safe_load(shipped.read_text()) if shipped.is_file() else _unshipped(name, data_dir)
        (folder / "model.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
        for artefact in document["artefacts"]:
            (folder / artefact["file"]).symlink_to(data_dir / "models" / artefact["file"])
    return registry.find(str(folder))


def read_rgb(path: Path, size: tuple[int, int]) -> np.ndarray:
    """A picture as the network sees it: uint8 (h, w, 3) RGB, stretched to ``size`` (width, height)."""
    return cv2.resize(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), size)


def iou(answer: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return float((answer & truth).sum() / (answer | truth).sum())


def _unshipped(name: str, data_dir: Path) -> dict[str, object]:
    if name == "bodypix":
        file, form = "bodypix_mnv1_050_stride16.onnx", "onnx"
        entry = {"size": "256x256", "multiple_of": 16, "dtype": "float32", **PLUS_MINUS_ONE}
        answer: dict[str, object] = {"form": "mask", "names": {"mask": "segments"}}
        classes = [{"name": "background", "colour": [0, 0, 0]}, {"name": "person", "colour": [192, 128, 128]}]
    else:
        file, form = "deeplabv3_257_mnv2_dm05_pascal_float.tflite", "tflite"
        entry = {"size": "257x257", "dtype": "float32", **PLUS_MINUS_ONE}
        answer = {"form": "logits"}
        pascal = ROOT / "models" / "deeplabv3-mnv2-pascal" / "model.yaml"
        classes = yaml.safe_load(pascal.read_text())["classes"]
    raw = (data_dir / "models" / file).read_bytes()
    artefact = {"file": file, "format": form, "precision": "float", "bytes": len(raw)}
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in entry.items()}
    return {
        "name": name,
        "title": name,
        "licence": "Apache-2.0",
        "artefacts": [artefact | {"sha256": hashlib.sha256(raw).hexdigest()}],
        "input": plain,
        "output": answer,
        "classes": classes,
    }

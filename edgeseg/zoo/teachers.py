"""Teachers that label pictures: two DeepLab networks, an ESPNetv2 and a YOLOX-nano.

Each answers in the classes for cameras (scenes.py), by the mapping file that lies beside the teachers.
Nothing of this runs in the daemon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import cv2
import numpy as np
import numpy.typing as npt
import torch
import yaml
from torch.nn import functional

from edgeseg.errors import ModelError
from edgeseg.frames import U8
from edgeseg.zoo.data import to_input
from edgeseg.zoo.networks.mobilenet_v2 import STAGES
from edgeseg.zoo.onnx_session import Session
from edgeseg.zoo.scenes import CLASSES

Probabilities = npt.NDArray[np.float32]
"""(len(CLASSES) + 1, h, w): the classes for cameras, then the probability that the teacher says nothing."""

ADE20K = "deeplabv3plus_mnv2_ade20k_folded.npz"
PASCAL = "deeplabv3_mnv2_pascal_folded.npz"
ESPNET = "espnetv2_s2.0_voc.onnx"
YOLOX = "yolox_nano_coco.onnx"
MAPPING = "mapping.yaml"

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)

YOLOX_PX = 416
YOLOX_STRIDES = (8, 16, 32)
YOLOX_GREY = 114.0

COCO_IDS = tuple(number for number in range(1, 91) if number not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
"""COCO's category ids in the order of an 80-class network's outputs."""


@dataclass(frozen=True, slots=True)
class Box:
    """label: index in CLASSES; score: 0-1; edges in pixels of the picture, floats."""

    label: int
    score: float
    left: float
    top: float
    right: float
    bottom: float


class Grouping:
    """Sums a teacher's probabilities by the class for cameras."""

    def __init__(self, mapping: Mapping[int, int]) -> None:
        silent = len(CLASSES)
        self._matrix = np.zeros((len(CLASSES) + 1, len(mapping)), np.float32)
        for index, label in mapping.items():
            self._matrix[silent if label < 0 else label, index] = 1.0

    def __call__(self, logits: npt.NDArray[np.float32]) -> Probabilities:
        """logits (channels, h, w)."""
        channels, height, width = logits.shape
        flat = logits.reshape(channels, -1)
        exponential = np.exp(flat - flat.max(axis=0, keepdims=True))
        grouped = self._matrix @ (exponential / exponential.sum(axis=0, keepdims=True))
        return np.asarray(grouped.reshape(-1, height, width), np.float32)


def read_mapping(path: Path) -> dict[str, dict[int, int]]:
    """teacher's label set -> its index -> class. Raises ModelError."""
    try:
        raw = yaml.safe_load(path.read_text())
        return {
            name: {int(index): int(label) for index, label in raw[name].items()}
            for name in ("ade20k", "voc", "coco")
        }
    except (OSError, yaml.YAMLError, TypeError, KeyError, ValueError, AttributeError) as error:
        raise ModelError(f"{path}: not a mapping of label sets ({' '.join(str(error).split())})") from error


class FoldedDeepLab:
    """A DeepLab from an .npz of folded weights: DeepLabV3 at output stride 16, or V3+ with decoder at 8.

    Any size of 8k + 1 (or 16k + 1): symmetric padding, and enlarging with aligned corners.
    """

    def __init__(self, path: Path, grouping: Grouping) -> None:
        self._path = path
        self._grouping = grouping
        try:
            with np.load(path) as arrays:
                found = {key: torch.from_numpy(np.asarray(arrays[key], np.float32)) for key in arrays.files}
        except (OSError, ValueError, BadZipFile) as error:
            raise ModelError(f"{path}: {error}; expected an .npz of folded DeepLab weights") from error
        self._weights = {
            key: value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value
            for key, value in found.items()
        }
        self._decodes = "decoder/skip/weight" in found

    def __call__(self, picture: U8, longest_px: int, *, flip: bool = False) -> Probabilities:
        """picture uint8 (h, w, 3) RGB -> probabilities on the network's own grid."""
        height, width = picture.shape[:2]
        scale = (longest_px - 1) / max(height, width)
        size = (round(width * scale / 16) * 16 + 1, round(height * scale / 16) * 16 + 1)
        resized = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
        x = torch.from_numpy(to_input(np.asarray(resized, np.uint8))).permute(2, 0, 1)[None]
        x = (x.flip(3) if flip else x).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            logits = self._logits(x).float()
        return self._grouping((logits.flip(3) if flip else logits)[0].numpy())

    def _conv(self, x: torch.Tensor, name: str, *, stride: int = 1, dilation: int = 1) -> torch.Tensor:
        weight, bias = self._weights[f"{name}/weight"], self._weights[f"{name}/bias"]
        padding = dilation * (weight.shape[2] // 2)
        groups = x.shape[1] // weight.shape[1]
        return functional.conv2d(x, weight, bias, stride, padding, dilation, groups)

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        deepest = 8 if self._decodes else 16
        x = functional.relu6(self._conv(x, "stem", stride=2))
        skip, reached, dilation, index = x, 2, 1, 0
        for expansion, _, count, first_stride in STAGES:
            for place in range(count):
                name, y, stride, own = f"block{index:02d}", x, first_stride if place == 0 else 1, dilation
                if stride == 2 and reached == deepest:
                    stride, dilation = 1, dilation * 2
                reached *= stride
                if expansion != 1:
                    y = functional.relu6(self._conv(y, f"{name}/expand"))
                y = functional.relu6(self._conv(y, f"{name}/depthwise", stride=stride, dilation=own))
                skip = y if index == 2 else skip
                y = self._conv(y, f"{name}/project")
                x = x + y if place else y
                index += 1
        pooled = functional.relu(self._conv(x.mean((2, 3), keepdim=True), "deeplab/image_pooling"))
        near = functional.relu(self._conv(x, "deeplab/aspp_1x1"))
        both = torch.cat([pooled.expand(-1, -1, *near.shape[2:]), near], dim=1)
        y = functional.relu(self._conv(both, "deeplab/fuse"))
        if not self._decodes:
            return self._conv(y, "deeplab/logits")
        y = functional.interpolate(y, skip.shape[2:], mode="bilinear", align_corners=True)
        y = torch.cat([y, functional.relu(self._conv(skip, "decoder/skip"))], dim=1)
        for name in ("decoder/sep0", "decoder/sep1"):
            y = functional.relu(self._conv(y, f"{name}_depthwise"))
            y = functional.relu(self._conv(y, f"{name}_pointwise"))
        return self._conv(y, "logits")


class EspNet:
    """ESPNetv2 trained on Pascal VOC and COCO; sizes are multiples of 32."""

    def __init__(self, path: Path, grouping: Grouping) -> None:
        self._session = Session(path)
        self._grouping = grouping

    def __call__(self, picture: U8, longest_px: int, *, flip: bool = False) -> Probabilities:
        """picture uint8 (h, w, 3) RGB -> probabilities at a quarter of the network's input."""
        height, width = picture.shape[:2]
        scale = longest_px / max(height, width)
        size = tuple(max(32, round(side * scale / 32) * 32) for side in (width, height))
        resized = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
        x = (resized.astype(np.float32) / 255.0 - IMAGENET_MEAN) / IMAGENET_STD
        x = np.ascontiguousarray((x[:, ::-1] if flip else x).transpose(2, 0, 1)[None])
        logits = np.asarray(next(iter(self._session.run(x).values())), np.float32)[0]
        channels, rows, columns = logits.shape
        # The network enlarges its answer itself, from half the size; nothing is lost by a mean of cells.
        small = logits.reshape(channels, rows // 4, 4, columns // 4, 4).mean(axis=(2, 4))
        return self._grouping(small[:, :, ::-1] if flip else small)


class BoxTeacher:
    """YOLOX-nano: boxes of COCO's 80 classes, as classes for cameras."""

    def __init__(self, path: Path, coco: Mapping[int, int]) -> None:
        self._session = Session(path)
        self._labels = np.array([coco[number] for number in COCO_IDS])
        cells = []
        for stride in YOLOX_STRIDES:
            side = YOLOX_PX // stride
            rows, columns = np.mgrid[:side, :side]
            cells.append(np.stack([columns.ravel(), rows.ravel(), np.full(side * side, stride)], axis=1))
        self._cells = np.concatenate(cells).astype(np.float32)

    def __call__(self, picture: U8, *, least: float = 0.1) -> list[Box]:
        """Boxes of the whole picture, mirrored too, and of its two halves enlarged, after suppression.

        A box of the halves that touches their cut is left out: the object goes on beyond it.
        """
        height, width = picture.shape[:2]
        found = self._view(picture, 0, 0, flip=False, least=least)
        found += self._view(picture, 0, 0, flip=True, least=least)
        wide = width >= height
        side = min(max(width, height) * 5 // 8, max(width, height))
        for start in (0, max(width, height) - side):
            left, top = (start, 0) if wide else (0, start)
            part = picture[:, left : left + side] if wide else picture[top : top + side]
            for box in self._view(part, left, top, flip=False, least=least):
                low, high = (box.left, box.right) if wide else (box.top, box.bottom)
                cut = start if start else side
                if not (low - 4 < cut < high + 4):
                    found.append(box)
        return suppressed(found)

    def _view(self, picture: U8, left: int, top: int, *, flip: bool, least: float) -> list[Box]:
        height, width = picture.shape[:2]
        scale = YOLOX_PX / max(height, width)
        size = (round(width * scale), round(height * scale))
        resized = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)[..., ::-1]
        x = np.full((YOLOX_PX, YOLOX_PX, 3), YOLOX_GREY, np.float32)
        x[: size[1], : size[0]] = resized[:, ::-1] if flip else resized
        answer = self._session.run(np.ascontiguousarray(x.transpose(2, 0, 1)[None]))
        out = np.asarray(next(iter(answer.values())), np.float32)[0]
        centre = (out[:, :2] + self._cells[:, :2]) * self._cells[:, 2:]
        half = np.exp(out[:, 2:4]) * self._cells[:, 2:] / 2
        classes = out[:, 4:5] * out[:, 5:]
        boxes = []
        for row in np.flatnonzero(classes.max(axis=1) >= least):
            index = int(classes[row].argmax())
            x0, y0 = (centre[row] - half[row]) / scale
            x1, y1 = (centre[row] + half[row]) / scale
            if flip:
                x0, x1 = width - x1, width - x0
            edges = (max(x0, 0), max(y0, 0), min(x1, width), min(y1, height))
            shifted = (edges[0] + left, edges[1] + top, edges[2] + left, edges[3] + top)
            boxes.append(
                Box(int(self._labels[index]), float(classes[row, index]), *(float(edge) for edge in shifted))
            )
        return boxes


def suppressed(boxes: Sequence[Box], overlap: float = 0.6) -> list[Box]:
    """The best of each group of boxes of one class that overlap by more than this share (IoU)."""
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda one: -one.score):
        if all(other.label != box.label or _iou(box, other) < overlap for other in kept):
            kept.append(box)
    return kept


def _iou(a: Box, b: Box) -> float:
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    if width <= 0 or height <= 0:
        return 0.0
    areas = (a.right - a.left) * (a.bottom - a.top) + (b.right - b.left) * (b.bottom - b.top)
    return width * height / (areas - width * height)


@dataclass(frozen=True, slots=True)
class Answers:
    """What the teachers say of one picture, at its own size.

    objects: two members, Coral's and ESPNet's Probabilities. scene: ADE20K's. boxes: YOLOX-nano's.
    """

    coral: Probabilities
    espnet: Probabilities
    scene: Probabilities
    boxes: list[Box]


class Teachers:
    """All four. teachers: folder of the three files and the mapping; models: folder of Coral's .npz.

    scales: longest sides in pixels; every second one sees the picture mirrored.
    Raises ModelError if a file is missing or not what it should be.
    """

    def __init__(
        self,
        teachers: Path,
        models: Path,
        *,
        coral_px: tuple[int, ...] = (513, 641),
        espnet_px: tuple[int, ...] = (384, 480),
        scene_px: tuple[int, ...] = (513,),
    ) -> None:
        mapping = read_mapping(teachers / MAPPING)
        self._coral = FoldedDeepLab(models / PASCAL, Grouping(mapping["voc"]))
        self._espnet = EspNet(teachers / ESPNET, Grouping(mapping["voc"]))
        self._scene = FoldedDeepLab(teachers / ADE20K, Grouping(mapping["ade20k"]))
        self._boxes = BoxTeacher(teachers / YOLOX, mapping["coco"])
        self._coral_px, self._espnet_px, self._scene_px = coral_px, espnet_px, scene_px

    def __call__(self, picture: U8) -> Answers:
        """picture uint8 (h, w, 3) RGB."""
        return Answers(
            _mean(self._coral, picture, self._coral_px),
            _mean(self._espnet, picture, self._espnet_px),
            _mean(self._scene, picture, self._scene_px),
            self._boxes(picture),
        )


def _mean(teacher: FoldedDeepLab | EspNet, picture: U8, scales: tuple[int, ...]) -> Probabilities:
    height, width = picture.shape[:2]
    total = np.zeros((len(CLASSES) + 1, height, width), np.float32)
    for index, longest in enumerate(scales):
        total += enlarged(teacher(picture, longest, flip=index % 2 == 1), width, height)
    return total / np.float32(len(scales))


def enlarged(probabilities: Probabilities, width: int, height: int) -> Probabilities:
    """Bilinear, to another size. Channels that are zero everywhere cost nothing."""
    total = np.zeros((len(probabilities), height, width), np.float32)
    for index, channel in enumerate(probabilities):
        if channel.max() > 1e-3:
            total[index] = cv2.resize(channel, (width, height), interpolation=cv2.INTER_LINEAR)
    return total

"""Naive pipelines: the same work as most tutorials do it, for comparison.

Nothing here is bad on purpose. Each function watches a clip with zones for ever; each ``next`` is one
frame. Only OpenCV, numpy and onnxruntime are needed, and nothing of edgeseg, so that another Python can
run this file by its path (``edgeseg bench --peer-python``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np

Polygon = Sequence[tuple[float, float]]
Shares = dict[str, dict[int, float]]

# What the bench's networks are fed; ImageNet's numbers would cost the same.
MEAN = np.array([0.5, 0.5, 0.5], np.float32)
STD = np.array([0.5, 0.5, 0.5], np.float32)


def naive(
    clip: str, network: str, classes: int, size_px: tuple[int, int], zones: dict[str, Polygon]
) -> Iterator[Shares]:
    """Step by step in numpy, at the network's full input size, a mask for every zone and class."""
    session, entry = _session(network)
    width, height = size_px
    masks = {name: _mask(polygon, width, height) for name, polygon in zones.items()}
    for frame in _frames(clip):
        picture = cv2.cvtColor(cv2.resize(frame, size_px), cv2.COLOR_BGR2RGB)
        normalised = (picture.astype(np.float32) / 255 - MEAN) / STD
        logits = session.run(None, {entry: normalised.transpose(2, 0, 1)[np.newaxis]})[0][0]
        enlarged = np.stack([cv2.resize(plane, size_px) for plane in logits])
        exponentials = np.exp(enlarged - enlarged.max(axis=0))
        probabilities = exponentials / exponentials.sum(axis=0)
        labels = probabilities.argmax(axis=0)
        yield {name: _shares(labels, mask, classes) for name, mask in masks.items()}


def tutorial(
    clip: str, network: str, classes: int, size_px: tuple[int, int], zones: dict[str, Polygon]
) -> Iterator[Shares]:
    """OpenCV and onnxruntime as the better tutorials have it: a blob, no softmax, labels enlarged instead of
    logits, one histogram for a zone; measured at the camera's own size, where people look at them."""
    session, entry = _session(network)
    masks: dict[str, Any] = {}
    for frame in _frames(clip):
        height, width = frame.shape[:2]
        if not masks:
            masks = {name: _mask(polygon, width, height) for name, polygon in zones.items()}
        blob = cv2.dnn.blobFromImage(frame, 1 / 127.5, size_px, (127.5, 127.5, 127.5), swapRB=True)
        logits = session.run(None, {entry: blob})[0][0]
        labels = np.argmax(logits, axis=0).astype(np.uint8)
        labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
        counts = {name: np.bincount(labels[mask], minlength=classes) for name, mask in masks.items()}
        yield {
            name: {index: float(share) for index, share in enumerate(count / count.sum())}
            for name, count in counts.items()
        }


def model_api(
    clip: str, network: str, classes: int, size_px: tuple[int, int], zones: dict[str, Polygon]
) -> Iterator[Shares]:
    """openvino-model-api's segmentation wrapper with its defaults; up to the label picture, without zones."""
    import tempfile
    from pathlib import Path

    import openvino
    from model_api.models import SegmentationModel

    width, height = size_px
    with tempfile.TemporaryDirectory() as folder:
        # It does not take a network whose size is free.
        graph = openvino.Core().read_model(network)
        graph.reshape([1, 3, height, width])
        openvino.save_model(graph, Path(folder) / "static.xml", compress_to_fp16=False)
        model = SegmentationModel.create_model(str(Path(folder) / "static.xml"), model_type="segmentation")
        for frame in _frames(clip):
            model(frame)
            yield {}


WAYS = {"naive": naive, "tutorial": tutorial, "model_api": model_api}


def _session(network: str) -> tuple[Any, str]:
    """The network with onnxruntime's defaults, and its input's name."""
    import onnxruntime

    session = onnxruntime.InferenceSession(network)
    return session, session.get_inputs()[0].name


def _frames(clip: str) -> Iterator[Any]:
    """The clip's pictures, BGR, over and over."""
    capture = cv2.VideoCapture(clip)
    while True:
        there, frame = capture.read()
        if there:
            yield frame
        elif not capture.set(cv2.CAP_PROP_POS_FRAMES, 0):
            capture = cv2.VideoCapture(clip)


def _mask(polygon: Polygon, width: int, height: int) -> Any:
    mask = np.zeros((height, width), np.uint8)
    corners = np.array([[round(x * width), round(y * height)] for x, y in polygon], np.int32)
    cv2.fillPoly(mask, [corners], 1)
    return mask.astype(bool)


def _shares(labels: Any, mask: Any, classes: int) -> dict[int, float]:
    area = mask.sum()
    return {index: float(((labels == index) & mask).sum() / area) for index in range(classes)}

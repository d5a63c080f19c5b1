"""Postprocess: makes the label map of the network's output, on the network's own grid."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.errors import EngineError
from edgeseg.frames import U8, Fit, LabelMap
from edgeseg.models.model import Model

F32 = npt.NDArray[np.float32]
Tensor = npt.NDArray[np.generic]


def label_map(outputs: Mapping[str, Tensor], fit: Fit, model: Model) -> LabelMap:
    """outputs: what ``Engine.run`` returned for the views of ``fit``.

    Labels and confidence that are uint8 already pass through without a copy. Raises EngineError where
    the network names a class that the manifest does not have.
    """
    if "labels" in outputs:
        confidence = outputs.get("confidence")
        return LabelMap(
            _labels(outputs["labels"], model),
            None if confidence is None else confidence.astype(np.uint8, copy=False),
            fit,
        )
    if "mask" in outputs:
        return _mask(outputs["mask"].astype(np.float32, copy=False), fit)
    scores = outputs["logits"] if "logits" in outputs else outputs["probabilities"]
    steps = outputs.get("scale")
    each = [
        _winners(view, "logits" in outputs, None if steps is None else float(steps[index]))
        for index, view in enumerate(scores)
    ]
    labels = np.stack([labels for labels, _ in each])
    certain = [confidence for _, confidence in each if confidence is not None]
    return LabelMap(labels, np.stack(certain) if len(certain) == len(each) else None, fit)


def _labels(labels: Tensor, model: Model) -> U8:
    wrong = int(labels.max())
    if wrong < len(model.classes) and labels.dtype.kind != "u":
        wrong = int(labels.min())
    if not 0 <= wrong < len(model.classes):
        raise EngineError(
            f"model {model.name}: the network answered class {wrong}, the manifest has 0 to "
            f"{len(model.classes) - 1}; list all its classes in model.yaml"
        )
    return labels.astype(np.uint8, copy=False)


def _winners(scores: Tensor, logits: bool, step: float | None) -> tuple[U8, U8 | None]:
    """scores: (classes, h, w) in any memory order. step: real value of one integer step."""
    planes = _planes(scores)
    best = planes[0].copy()
    labels = np.zeros(best.shape, np.uint8)
    above = np.empty(best.shape, np.bool_)
    # A running maximum over planes: 0.4 ms for 21 x 257 x 257 where numpy's argmax takes 2.7. The class
    # number of a later winner is always the larger one, so a maximum also keeps the labels.
    for index in range(1, len(planes)):
        np.greater(planes[index], best, out=above)
        marks = above.view(np.uint8)
        np.multiply(marks, np.uint8(index), out=marks)
        np.maximum(labels, marks, out=labels)
        np.maximum(best, planes[index], out=best)
    if planes.dtype.kind == "f":
        return labels, _confidence(planes, best, 1.0) if logits else _share(best, 1.0)
    if step is None:
        return labels, None
    return labels, _confidence(planes, best, step) if logits else _share(best, step)


def _planes(scores: Tensor) -> Tensor:
    """(classes, h, w) in C order; channels-last data is transposed in one go."""
    if scores.flags.c_contiguous:
        return scores
    classes, height, width = scores.shape
    last = np.moveaxis(scores, 0, -1)
    if last.flags.c_contiguous:
        return np.asarray(cv2.transpose(last.reshape(-1, classes))).reshape(classes, height, width)
    return np.ascontiguousarray(scores)


def _confidence(planes: Tensor, best: Tensor, step: float) -> U8:
    """The winner's softmax probability, 1 / sum(exp(x - max)), times 255; only the winner's is needed."""
    total = np.zeros(best.shape, np.float32)
    top = best.astype(np.float32, copy=False)
    # One buffer for all classes: it stays in the cache.
    difference = np.empty(best.shape, np.float32)
    for plane in planes:
        np.subtract(plane, top, out=difference)
        if step != 1.0:
            difference *= np.float32(step)
        cv2.exp(difference, dst=difference)
        total += difference
    return _to_u8(np.float32(1.0) / total)


def _share(best: Tensor, step: float) -> U8:
    # TFLite quantizes a softmax over 0-1 to 256 steps from the type's smallest value.
    low = 0 if best.dtype.kind in "uf" else -128
    return _to_u8((best.astype(np.float32) - low) * np.float32(step))


def _mask(logit: F32, fit: Fit) -> LabelMap:
    """logit: (n, 1, h, w). The winner's probability is the logistic function of the logit's size."""
    plane = logit[:, 0]
    labels = (plane > 0).view(np.uint8)
    return LabelMap(labels, _to_u8(1.0 / (1.0 + np.exp(-np.abs(plane)))), fit)


def _to_u8(probability: npt.NDArray[np.floating]) -> U8:
    # Adding a half and cutting off rounds in one pass; no probability is negative.
    rounded: U8 = np.minimum(probability * 255.0 + 0.5, 255.0).astype(np.uint8)
    return rounded

"""Does an exported graph answer what the torch network answers? On whole pictures of several sizes.

Random noise would not do: exporters have traced SAME padding wrongly in ways that only show at some
sizes, and the label maps of noise are near-ties everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from edgeseg.errors import ModelError
from edgeseg.frames import U8
from edgeseg.zoo.onnx_session import Array, Session
from edgeseg.zoo.surgery import CONFIDENCE, LABELS, Normalisation

SIZES_PX = ((480, 384), (512, 288), (416, 320), (96, 160))
"""(width, height), multiples of 32."""

LEAST_AGREEMENT = 0.9995
"""Runtimes round differently, so a near-tie may flip; a wrong graph agrees far less."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """labels: least share of equal argmax over the pictures. confidence_levels: largest difference, 0-255."""

    labels: float
    confidence_levels: int


def normalise(pictures: U8, normalisation: Normalisation) -> torch.Tensor:
    """uint8 (n, h, w, 3) RGB -> float (n, 3, h, w), by the manifest's formula."""
    ordered = pictures[..., ::-1] if normalisation.bgr else pictures
    scaled = ordered.astype(np.float32) / np.float32(normalisation.scale)
    value = (scaled - np.asarray(normalisation.mean, np.float32)) / np.asarray(normalisation.std, np.float32)
    return torch.from_numpy(np.ascontiguousarray(value.transpose(0, 3, 1, 2)))


def compare(
    network: nn.Module,
    graph: ir.Model,
    pictures: Sequence[U8],
    normalisation: Normalisation,
    sizes_px: Sequence[tuple[int, int]] = SIZES_PX,
) -> Agreement:
    """Every picture (uint8 (h, w, 3) RGB) at every size, through both; ``graph`` is float or deploy."""
    session, least, most = Session(graph), 1.0, 0
    deploy = graph.graph.outputs[0].name == LABELS
    network.eval()
    for size_px in sizes_px:
        for picture in pictures:
            resized = np.asarray(cv2.resize(picture, size_px, interpolation=cv2.INTER_LINEAR), np.uint8)[None]
            x = normalise(resized, normalisation)
            with torch.inference_mode():
                logits = network(x).main
            expected = logits.argmax(dim=1).numpy()
            answers = session.run(resized if deploy else x.numpy())
            labels = _labels(answers, deploy)
            if labels.shape != expected.shape:
                raise ModelError(
                    f"export: the graph answers {labels.shape} at {size_px[0]} x {size_px[1]},"
                    f" torch {expected.shape}"
                )
            least = min(least, float((labels == expected).mean()))
            if deploy:
                wanted = logits.softmax(dim=1).amax(dim=1).numpy() * 255.0
                most = max(most, int(np.ceil(np.abs(answers[CONFIDENCE] - wanted).max() - 0.5)))
    return Agreement(least, most)


def require(agreement: Agreement, what: str) -> None:
    """Raises ModelError unless labels agree and confidence is at most one level off."""
    if agreement.labels < LEAST_AGREEMENT or agreement.confidence_levels > 1:
        raise ModelError(
            f"{what}: labels agree with torch on {agreement.labels:.4%} of a picture and confidence within"
            f" {agreement.confidence_levels} levels; expected {LEAST_AGREEMENT:.2%} and 1: not written"
        )


def _labels(answers: dict[str, Array], deploy: bool) -> Array:
    if deploy:
        return answers[LABELS]
    return np.asarray(np.asarray(next(iter(answers.values()))).argmax(axis=1))

"""Score a torch network as its artefact will be scored: labels on the output grid, enlarged by nearest."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import nn

from edgeseg.frames import U8
from edgeseg.zoo.data import Sample, read_sample, to_input
from edgeseg.zoo.metrics import Confusion, Scores

PADDING_LEVEL = 127
"""Grey: zero after normalisation, like the padding inside the network."""


def predict(network: nn.Module, picture: U8, scale: float = 1.0, *, bf16: bool = False) -> U8:
    """uint8 (h, w, 3) RGB -> labels uint8 (h, w).

    The picture is enlarged by ``scale``, padded to multiples of 32 on both sides alike, and the labels
    of the stride-4 grid come back by nearest neighbour.
    """
    height, width = picture.shape[:2]
    scaled_height, scaled_width = round(height * scale), round(width * scale)
    if scale != 1.0:
        size = (scaled_width, scaled_height)
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    pad_height, pad_width = -scaled_height % 32, -scaled_width % 32
    top, left = pad_height // 2, pad_width // 2
    level = (PADDING_LEVEL,) * 3
    bottom, right = pad_height - top, pad_width - left
    padded = np.asarray(
        cv2.copyMakeBorder(picture, top, bottom, left, right, cv2.BORDER_CONSTANT, value=level), np.uint8
    )
    x = torch.from_numpy(to_input(padded)).permute(2, 0, 1)[None]
    device = next(network.parameters()).device
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        logits = network(x.to(device)).main
    grid = logits[0].argmax(dim=0).to(torch.uint8).cpu().numpy()
    stride = padded.shape[0] // grid.shape[0]
    rows = np.floor((np.arange(height) + 0.5) * (scaled_height / height) + top).astype(np.intp) // stride
    columns = np.floor((np.arange(width) + 0.5) * (scaled_width / width) + left).astype(np.intp) // stride
    return np.asarray(grid[rows[:, None], columns[None, :]])


def validate(
    network: nn.Module,
    samples: Sequence[Sample],
    classes: int,
    *,
    scale: float = 1.0,
    bf16: bool = False,
) -> Scores:
    """Scores over all ``samples`` at their own size; the network is left in evaluation mode."""
    network.eval()
    confusion = Confusion(classes)
    for sample in samples:
        picture, labels = read_sample(sample, classes)
        confusion.add(predict(network, picture, scale, bf16=bf16), labels)
    return confusion.scores()

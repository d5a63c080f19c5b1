"""What every network of the zoo returns."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Logits(NamedTuple):
    """main: (n, classes, h/4, w/4), unscaled. auxiliary: coarser ones, only while training.

    A named tuple and not a dataclass: torch's exporter flattens it without being told how.
    """

    main: torch.Tensor
    auxiliary: tuple[torch.Tensor, ...]

"""What every network of the zoo returns."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Logits(NamedTuple):
    """main: (n, classes, h/4, w/4), unscaled. auxiliary: coarser ones, only while training.

    hints: features that a student may imitate (Romero et al. 2015): (n, 144, h/4, w/4), (n, 96, h/16,
    w/16) and (n, 320, h/16, w/16), a MobileNetV2 trunk's; a student's own guess at them, while training,
    may be coarser. A named tuple and not a dataclass: torch's exporter flattens it without being told how.
    """

    main: torch.Tensor
    auxiliary: tuple[torch.Tensor, ...] = ()
    hints: tuple[torch.Tensor, ...] = ()

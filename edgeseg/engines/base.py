"""The engine seam."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgeseg.frames import U8


class Engine(Protocol):
    """A loaded network. Safe to call from several threads; ``run`` blocks until the answer is there.

    The adapter applies what the manifest says of layout, channel order, range and normalisation, so
    that every engine takes the same pictures.
    """

    name: str
    input_size_px: tuple[int, int]

    def run(self, batch: U8) -> dict[str, npt.NDArray[np.generic]]:
        """batch: uint8 (n, h, w, 3) RGB. Returns arrays by the manifest's output roles
        (``logits``, ``labels``, ``confidence``), first axis n. Raises EngineError."""

    def close(self) -> None:
        """Release the runtime. Idempotent."""

"""Engine protocol: what every engine adapter implements.

To add one: write ``engines/NAME.py`` with ``load``, ``absent`` and ``device`` as ``onnxruntime.py`` has them,
describe its tensors with ``tensors.check_model``, add the engine to ``models/runtimes.py``, and run it in the
contract suite (``tests/support/engine_cases.py``).
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from edgeseg.frames import U8

Outputs = dict[str, npt.NDArray[np.generic]]


class Engine(Protocol):
    """A loaded network. Safe to call from several threads; ``run`` blocks until the answer is there.

    The adapter applies what the manifest says of layout, channel order, range and normalisation, so
    that every engine takes the same pictures and gives arrays of the same shapes.
    """

    input_size_px: tuple[int, int]

    @property
    def name(self) -> str:
        """Of the engine that runs it now."""

    def run(self, batch: U8) -> Outputs:
        """batch: uint8 (n, h, w, 3) RGB. Returns arrays by output role, those of the model's form:

        logits, probabilities: (n, classes, grid_h, grid_w), float32, or int8 or uint8 of a quantized
            network; in any memory order.
        scale: float32 (n,), beside integer logits or probabilities: the real value of one step.
        mask: (n, 1, grid_h, grid_w), the logit of class 1 against class 0, float32.
        labels: (n, grid_h, grid_w), any integer type.
        confidence: uint8 (n, grid_h, grid_w).

        Raises EngineError.
        """

    def close(self) -> None:
        """Release the runtime. Idempotent."""


@runtime_checkable
class Cancellable(Protocol):
    """An engine that can end a run from outside."""

    def cancel(self, thread_id: int) -> bool:
        """Make the run that the thread of this native id is at raise EngineError soon. Returns at once, and
        False where that thread runs nothing or the runtime cannot."""

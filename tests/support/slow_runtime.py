"""A stand-in for LiteRT in the daemon's process: its networks tell red, green and blue from the rest as the
tiny ones do, and take their time, computing or asleep, or answer nothing for ever.

What it is to do stands in the weights file, as JSON. It comes first on the daemon's PYTHONPATH.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import ROOT
from tests.support.tiny_models import STRIDE, Convention, write_manifest

_CONVENTION = Convention(layout="nhwc")
_BLOCK = bytes(1 << 20)
_MUCH = 150.0


def write_slow_model(
    folder: Path,
    *,
    load_s: float = 0.0,
    computes_s: float = 0.0,
    sleeps_s: float = 0.0,
    blocks_on_blue: bool = False,
) -> Path:
    """A model folder. load_s: it computes so long when it is loaded. computes_s, sleeps_s: of CPU time, and
    asleep, for each picture. blocks_on_blue: it never answers a blue one, and computes nothing."""
    folder.mkdir(parents=True)
    weights = folder / "slow.tflite"
    behaviour = {
        "load_s": load_s,
        "computes_s": computes_s,
        "sleeps_s": sleeps_s,
        "blocks_on_blue": blocks_on_blue,
    }
    weights.write_text(json.dumps(behaviour))
    return write_manifest(folder, weights, _CONVENTION, "tflite", "float")


def environment(folder: Path) -> dict[str, str]:
    """Of a daemon that is to use it. folder: an empty one for the package."""
    package = folder / "ai_edge_litert"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "interpreter.py").write_text(
        "from tests.support.slow_runtime import Interpreter as Interpreter\n"
    )
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def compute(cpu_s: float) -> None:
    """Use so much CPU time of this thread, without Python's lock."""
    until_s = time.thread_time() + cpu_s
    while time.thread_time() < until_s:
        hashlib.sha256(_BLOCK)


class Interpreter:
    """What ``edgeseg.engines.litert`` uses of the real one."""

    def __init__(self, model_path: str, num_threads: int, experimental_delegates: object = None) -> None:
        self._behaviour = json.loads(Path(model_path).read_text())
        width, height = _CONVENTION.size
        self._entry = self._detail("picture", 0, (1, height, width, 3))
        self._exit = self._detail("scores", 1, (1, height // STRIDE, width // STRIDE, 4))
        self._picture = np.zeros((1, height, width, 3), np.float32)
        self._scores = np.zeros((1, height // STRIDE, width // STRIDE, 4), np.float32)

    def get_input_details(self) -> list[dict[str, Any]]:
        return [self._entry]

    def get_output_details(self) -> list[dict[str, Any]]:
        return [self._exit]

    def allocate_tensors(self) -> None:
        compute(self._behaviour["load_s"])

    def set_tensor(self, index: int, tensor: np.ndarray) -> None:
        self._picture = tensor

    def get_tensor(self, index: int) -> np.ndarray:
        return self._scores

    def invoke(self) -> None:
        compute(self._behaviour["computes_s"])
        threading.Event().wait(self._behaviour["sleeps_s"])
        red, _, blue = self._picture.mean(axis=(0, 1, 2))
        if self._behaviour["blocks_on_blue"] and blue - red > _MUCH:
            threading.Event().wait()
        _, height, width, _ = self._picture.shape
        cells = self._picture.reshape(1, height // STRIDE, STRIDE, width // STRIDE, STRIDE, 3)
        kernel, bias = _CONVENTION.weights()
        self._scores = (cells.mean(axis=(2, 4)) @ kernel.T + bias).astype(np.float32)

    @staticmethod
    def _detail(name: str, index: int, shape: tuple[int, ...]) -> dict[str, Any]:
        detail = {"name": name, "index": index, "shape": shape, "dtype": np.float32}
        return {**detail, "quantization": (0.0, 0)}

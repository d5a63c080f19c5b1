"""LiteRT engine: runs TFLite networks on the CPU, or on a Coral Edge TPU through its delegate.

tflite_runtime, the predecessor of LiteRT, is used where only that is installed.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.engines import denormals, tensors
from edgeseg.engines.base import Outputs
from edgeseg.engines.hardware import edge_tpus
from edgeseg.engines.stderr import without_lines
from edgeseg.engines.tensors import TensorInfo
from edgeseg.errors import EngineError
from edgeseg.frames import U8
from edgeseg.models.model import Artefact, Role
from edgeseg.models.runtimes import ENGINES

CORAL = "coral"
_RUNTIME = ENGINES["litert"]
# The one operator that edgetpu_compiler packs into what the TPU does.
_EDGE_TPU_OPERATOR = b"edgetpu-custom-op"
_EDGE_TPU_ADVICE = "Debian package libedgetpu1-std of coral.ai, or name it in EDGESEG_EDGETPU_LIBRARY"

# Neither package carries types: an interpreter is what its documentation says.
Interpreter = Any


class LiteRtEngine:
    """Runs a network on LiteRT. Interpreters are not thread-safe: each run borrows one.

    On a CPU one is made when all are out, so there are as many as there were ever concurrent calls, and
    they share the file's mapped weights. An Edge TPU runs one network at a time: callers wait for it.

    Args:
        name: of the engine.
        artefact: the file.
        classes: how many the model has.
        make: makes an interpreter.
        first: one that was made already.
        input_size_px: (width, height).
    """

    def __init__(
        self,
        name: str,
        artefact: Artefact,
        classes: int,
        make: Callable[[], Interpreter],
        first: Interpreter,
        input_size_px: tuple[int, int],
    ) -> None:
        self.name = name
        self.input_size_px = input_size_px
        self._make = make
        self._idle: list[Interpreter] = [first]
        self._lock = threading.Lock()
        self._returned = threading.Condition(self._lock)
        self._closed = False
        details = (first.get_input_details(), first.get_output_details())
        inputs, outputs = ([_info(item) for item in items] for items in details)
        self._tensors = tensors.check_model(artefact, classes, inputs, outputs, input_size_px)
        self._file = artefact.blob.file

    def run(self, batch: U8) -> Outputs:
        """See ``Engine.run``."""
        with self._borrowed() as interpreter:
            return tensors.each_view(batch, self.input_size_px, lambda view: self._infer(interpreter, view))

    def close(self) -> None:
        """See ``Engine.close``."""
        with self._lock:
            self._closed = True
            self._idle.clear()
            self._returned.notify_all()

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[Interpreter]:
        with self._lock:
            if self.name == CORAL:
                self._returned.wait_for(lambda: self._idle or self._closed)
            if self._closed:
                raise EngineError(f"{self._file}: the engine was closed")
            interpreter = self._idle.pop() if self._idle else None
        if interpreter is None:
            interpreter = self._make()
        try:
            yield interpreter
        finally:
            with self._lock:
                if not self._closed:
                    self._idle.append(interpreter)
                    self._returned.notify()

    def _infer(self, interpreter: Interpreter, view: U8) -> Outputs:
        index = {item["name"]: item["index"] for item in interpreter.get_output_details()}
        try:
            interpreter.set_tensor(
                interpreter.get_input_details()[0]["index"], self._tensors.pictures.tensor(view)
            )
            with denormals.as_zero():
                interpreter.invoke()
            arrays: dict[Role, tensors.Tensor] = {
                role: interpreter.get_tensor(index[info.name]) for role, info in self._tensors.exits.items()
            }
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"{self._file}: LiteRT: {_first_line(error)}") from None
        return self._tensors.outputs(arrays)


def load(
    name: str,
    artefact: Artefact,
    path: Path,
    classes: int,
    input_size_px: tuple[int, int] | None,
    threads: int,
) -> LiteRtEngine:
    """Load a verified .tflite file and hold it against its manifest, with one run. Raises EngineError."""
    size_px = tensors.input_size(artefact, input_size_px)
    if name == CORAL and _EDGE_TPU_OPERATOR not in path.read_bytes():
        raise EngineError(
            f"{path}: is not compiled for the Edge TPU, which would leave all of it to the CPU; run "
            "edgetpu_compiler on it, or use engine litert"
        )

    def make() -> Interpreter:
        return _interpreter(name, path, artefact, size_px, threads)

    # The runtime announces its delegate once in a process, with the first network.
    with without_lines(b"INFO:"):
        first = make()
    engine = LiteRtEngine(name, artefact, classes, make, first, size_px)
    tensors.run_once(engine)
    return engine


def absent(name: str) -> str | None:
    """Why the engine ``name`` cannot work on this machine; None where it can."""
    if name != CORAL:
        return None
    try:
        ctypes.CDLL(_edge_tpu_library())
    except OSError:
        return f"the Edge TPU's library {_edge_tpu_library()} is not installed ({_EDGE_TPU_ADVICE})"
    return None if edge_tpus() else "no Edge TPU on USB or PCIe"


def device(name: str) -> str:
    """What it runs on, in words."""
    return ", ".join(edge_tpus()) or "Edge TPU" if name == CORAL else "CPU"


def _interpreter(
    name: str, path: Path, artefact: Artefact, size_px: tuple[int, int], threads: int
) -> Interpreter:
    try:
        with denormals.as_zero():
            interpreter = _construct(name, path, threads)
        entry = interpreter.get_input_details()[0]
        shape = tensors.tensor_shape(artefact.input, size_px)
        if artefact.input.multiple_of is not None and tuple(entry["shape"]) != shape:
            interpreter.resize_tensor_input(entry["index"], shape)
        with denormals.as_zero():
            interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        if _EDGE_TPU_OPERATOR.decode() in str(error):
            raise EngineError(
                f"{path}: is compiled for the Coral Edge TPU and cannot run on a CPU; use the file "
                "from before edgetpu_compiler (its name has no _edgetpu), or an Edge TPU with `engine: coral`"
            ) from None
        if "identifier" in str(error) or "not a valid" in str(error).lower():
            raise EngineError(f"{path}: is not a TFLite file") from None
        raise EngineError(f"{path}: LiteRT cannot load it: {_first_line(error)}") from None
    return interpreter


def _construct(name: str, path: Path, threads: int) -> Interpreter:
    """The first runtime that constructs: tflite_runtime imports beside numpy 2, and fails only here."""
    reasons = []
    for package in _RUNTIME.packages:
        try:
            module = importlib.import_module(f"{package}.interpreter")
        except ImportError as error:
            if error.name not in (package, f"{package}.interpreter"):
                reasons.append(f"{package}: {_first_line(error)}")
            continue
        delegates = [_edge_tpu_delegate(module, path)] if name == CORAL else None
        try:
            return module.Interpreter(
                model_path=str(path), num_threads=threads, experimental_delegates=delegates
            )
        except SystemError:
            reasons.append(f"{package} does not work with numpy {np.__version__}")
    why = f" ({'; '.join(reasons)})" if reasons else ""
    raise EngineError(f"engine {name}: LiteRT is not installed{why}; install it with {_RUNTIME.install}")


def _edge_tpu_delegate(module: Any, path: Path) -> Any:
    library = _edge_tpu_library()
    try:
        # By ourselves first: LiteRT's half-made delegate prints a traceback when it is collected.
        ctypes.CDLL(library)
        return module.load_delegate(library)
    except OSError as error:
        raise EngineError(
            f"{path}: engine coral: the Edge TPU's library {library} cannot be loaded "
            f"({_first_line(error)}); {_EDGE_TPU_ADVICE}"
        ) from None
    except ValueError:
        # The library's only message about a device that is not there, or that another process holds.
        raise EngineError(
            f"{path}: engine coral: {library} found no Edge TPU that it may use; is it plugged in, does "
            "another program hold it, and may this user open it (group plugdev or apex)?"
        ) from None


def _edge_tpu_library() -> str:
    return os.environ.get("EDGESEG_EDGETPU_LIBRARY") or "libedgetpu.so.1"


def _info(item: dict[str, Any]) -> TensorInfo:
    scale, zero_point = item["quantization"]
    # shape_signature has -1 where an extent is free; a resized tensor has its own in shape.
    return TensorInfo(
        str(item["name"]),
        tuple(int(n) for n in item["shape"]),
        np.dtype(item["dtype"]).name,
        float(scale),
        int(zero_point),
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

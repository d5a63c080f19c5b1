"""OpenVINO engine: runs ONNX, TFLite and OpenVINO networks on x86-64 and ARM CPUs and Intel GPUs."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import frontend

from edgeseg.engines import denormals, tensors
from edgeseg.engines.base import Outputs
from edgeseg.engines.tensors import TensorInfo
from edgeseg.engines.under_way import UnderWay
from edgeseg.errors import EdgesegError, EngineError
from edgeseg.frames import U8
from edgeseg.models.model import Artefact, Format, Role
from edgeseg.system.cpu_quota import whole_cpus
from edgeseg.system.paths import cache_dir

_FAILURES = (
    "GeneralFailure InitializationFailure NotImplementedFailure OpConversionFailure OpValidationFailure"
)
# A frontend's exceptions share no base but Exception.
_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    *(getattr(frontend, name) for name in _FAILURES.split() if hasattr(frontend, name)),
)
# What each frontend calls itself, what people call its files, and how it says that a file is none.
_FRONTENDS: dict[Format, tuple[str, str, str]] = {
    "onnx": ("onnx", "an ONNX", "ParseFromIstream"),
    "tflite": ("tflite", "a TFLite", "model_lite"),
    "openvino": ("ir", "an OpenVINO", "pugi::status_ok"),
}
_HALF_BY_CAPABILITY = {"BF16": "bf16", "FP16": "f16"}


class OpenVinoEngine:
    """One compiled network with a stream for each caller; each run borrows an inference request.

    Args:
        name: of the engine.
        artefact: the file.
        classes: how many the model has.
        compiled: the network.
        input_size_px: (width, height).
    """

    def __init__(
        self,
        name: str,
        artefact: Artefact,
        classes: int,
        compiled: openvino.CompiledModel,
        input_size_px: tuple[int, int],
    ) -> None:
        self.name = name
        self.input_size_px = input_size_px
        self._compiled: openvino.CompiledModel | None = compiled
        self._idle: list[openvino.InferRequest] = []
        self._lock = threading.Lock()
        inputs, outputs = ([_info(port) for port in ports] for ports in (compiled.inputs, compiled.outputs))
        self._tensors = tensors.check_model(artefact, classes, inputs, outputs, input_size_px)
        self._file = artefact.blob.file
        self._index = {role: outputs.index(info) for role, info in self._tensors.exits.items()}
        self._under_way = UnderWay()

    def run(self, batch: U8) -> Outputs:
        """See ``Engine.run``."""
        with self._borrowed() as request:
            return tensors.each_view(batch, self.input_size_px, lambda view: self._infer(request, view))

    def close(self) -> None:
        """See ``Engine.close``."""
        with self._lock:
            self._compiled = None
            self._idle.clear()

    def cancel(self, thread_id: int) -> bool:
        """See ``Cancellable.cancel``: OpenVINO looks at the flag between two operators."""
        return self._under_way.cancel(thread_id)

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[openvino.InferRequest]:
        with self._lock:
            if self._compiled is None:
                raise EngineError(f"{self._file}: the engine was closed")
            request = self._idle.pop() if self._idle else self._compiled.create_infer_request()
        try:
            yield request
        finally:
            with self._lock:
                if self._compiled is not None:
                    self._idle.append(request)

    def _infer(self, request: openvino.InferRequest, view: U8) -> Outputs:
        feed = {0: self._tensors.pictures.tensor(view)}
        try:
            with self._under_way.run(request.cancel), denormals.as_zero():
                # Its `infer` cannot be cancelled.
                request.start_async(feed, share_inputs=True)
                request.wait()
        except _ERRORS as error:
            raise EngineError(f"{self._file}: OpenVINO: {_reason(error)}") from None
        # The request's own memory, which its next run overwrites; only what is used is copied out of it.
        arrays: dict[Role, tensors.Tensor] = {
            role: np.array(request.get_output_tensor(index).data) for role, index in self._index.items()
        }
        return self._tensors.outputs(arrays)


def load(
    name: str,
    artefact: Artefact,
    path: Path,
    classes: int,
    input_size_px: tuple[int, int] | None,
    threads: int,
) -> OpenVinoEngine:
    """Load a verified file and hold it against its manifest, with one run. Raises EngineError."""
    size_px = tensors.input_size(artefact, input_size_px)
    if tensors.bare_integers(artefact):
        raise EngineError(
            f"{artefact.blob.file}: OpenVINO does not report the scale of a TFLite file's integer tensors; "
            "use engine litert"
        )
    absence = absent(name)
    if absence is not None:
        raise EngineError(f"engine {name}: {absence}")
    try:
        network = _read(artefact, path)
        shape = list(tensors.tensor_shape(artefact.input, size_px))
        if artefact.input.multiple_of is not None and _info(network.inputs[0]).shape != tuple(shape):
            # With the shape fixed, memory is planned once and kernels are chosen for it.
            network.reshape({0: shape})
        # Checked before compiling, which takes longest and explains least.
        tensors.find_input(artefact, [_info(port) for port in network.inputs], size_px)
        with denormals.as_zero():
            compiled = _core().compile_model(network, _device(name), options(name, threads, _blob_folder()))
    except _ERRORS as error:
        raise EngineError(_refusal(artefact, path, error)) from None
    engine = OpenVinoEngine(name, artefact, classes, compiled, size_px)
    tensors.run_once(engine)
    return engine


def options(name: str, threads: int, blobs: Path | None) -> dict[str, Any]:
    """What the network is compiled with. threads: of one run. blobs: folder of compiled networks, or None."""
    cores = whole_cpus()
    chosen: dict[str, Any] = {"PERFORMANCE_HINT": "THROUGHPUT"}
    # By default it takes bf16 where the CPU has it.
    chosen["INFERENCE_PRECISION_HINT"] = _half() if name == "openvino-half" else "f32"
    if name == "openvino-gpu":
        chosen["INFERENCE_PRECISION_HINT"] = "f16"
    else:
        # As many streams as callers may run at once; pinned threads would fight the decoders for cores.
        streams = max(1, cores // threads)
        chosen |= {
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams * threads,
            "ENABLE_CPU_PINNING": False,
            "CPU_DENORMALS_OPTIMIZATION": True,
        }
    return chosen | ({"CACHE_DIR": str(blobs)} if blobs is not None else {})


def described(path: Path) -> tuple[list[TensorInfo], list[TensorInfo]]:
    """What a file's graph takes and gives. Raises EngineError."""
    try:
        network = _core().read_model(path)
    except _ERRORS as error:
        raise EngineError(f"{path}: OpenVINO cannot read it: {_reason(error)}") from None
    return [_info(port) for port in network.inputs], [_info(port) for port in network.outputs]


def absent(name: str) -> str | None:
    """Why the engine ``name`` cannot work on this machine; None where it can."""
    # Every OpenVINO computes on the CPU; asking for its devices loads 14 MB of its GPU plugin for good.
    if _device(name) != "CPU" and _device(name) not in {
        device.partition(".")[0] for device in _core().available_devices
    }:
        return f"OpenVINO sees no {_device(name)} here (for a GPU install its compute runtime)"
    if name == "openvino-half" and not _half():
        return "this CPU computes neither bf16 nor f16"
    return None


def device(name: str) -> str:
    """What it runs on, in words."""
    full_name = str(_core().get_property(_device(name), "FULL_DEVICE_NAME")).strip()
    return f"{full_name}, {_half()}" if name == "openvino-half" else full_name


@functools.cache
def _core() -> openvino.Core:
    return openvino.Core()


def _device(name: str) -> str:
    return "GPU" if name == "openvino-gpu" else "CPU"


def _half() -> str:
    capabilities = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return next((hint for word, hint in _HALF_BY_CAPABILITY.items() if word in capabilities), "")


def _blob_folder() -> Path | None:
    """Return the folder that caches compiled networks, None where it cannot be written."""
    try:
        folder = cache_dir() / "openvino"
        folder.mkdir(parents=True, exist_ok=True)
    except (EdgesegError, OSError):
        return None
    return folder if os.access(folder, os.W_OK) else None


def _read(artefact: Artefact, path: Path) -> openvino.Model:
    # By its own frontend: the others, tried in turn, fill standard error with their refusals.
    reader = frontend.FrontEndManager().load_by_framework(_FRONTENDS[artefact.format][0])
    network: openvino.Model = reader.convert(reader.load(str(path)))
    return network


def _refusal(artefact: Artefact, path: Path, error: Exception) -> str:
    _, kind, sign = _FRONTENDS[artefact.format]
    if sign in str(error):
        return f"{path}: is not {kind} file"
    if "can't protect" in str(error):
        return (
            "OpenVINO writes its kernels while it runs, which systemd's MemoryDenyWriteExecute=yes forbids: "
            "allow it as systemd/examples/accelerator.conf does, or use engine onnxruntime"
        )
    return f"{path}: OpenVINO cannot load it: {_reason(error)}"


def _info(port: Any) -> TensorInfo:
    names = sorted(port.get_names())
    shape = tuple(None if extent.is_dynamic else extent.get_length() for extent in port.partial_shape)
    return TensorInfo(
        names[0] if names else port.get_node().get_friendly_name(), shape, port.element_type.to_dtype().name
    )


def _reason(error: Exception) -> str:
    """The first line that says something: before it stand places in OpenVINO's own sources."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from", "Check '", "FrontEnd API"))]
    return (telling or lines or [type(error).__name__])[0][:200]

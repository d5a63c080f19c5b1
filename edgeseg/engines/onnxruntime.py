"""onnxruntime engine: runs ONNX networks on the CPU, or with one of its other execution providers."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as codes

from edgeseg.engines import denormals, hardware, providers, tensors
from edgeseg.engines.base import Outputs
from edgeseg.engines.tensors import ModelTensors, TensorInfo
from edgeseg.engines.under_way import UnderWay
from edgeseg.errors import EngineError
from edgeseg.frames import U8
from edgeseg.models.model import Artefact
from edgeseg.models.runtimes import ENGINES

# onnxruntime's exceptions share no base but Exception; not every version has all of them.
_NAMES = "EPFail EngineError Fail InvalidArgument InvalidGraph InvalidProtobuf ModelLoaded NoModel NoSuchFile"
_ERRORS: tuple[type[Exception], ...] = (
    *(
        getattr(codes, name)
        for name in (*_NAMES.split(), "NotImplemented", "RuntimeException")
        if hasattr(codes, name)
    ),
    RuntimeError,
    ValueError,
)
_TYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int8)": "int8"}


class OnnxRuntimeEngine:
    """One session, shared by all threads: onnxruntime allows concurrent runs.

    Args:
        name: of the engine.
        session: with the network loaded.
        model_tensors: its checked tensors.
        input_size_px: (width, height).
    """

    def __init__(
        self,
        name: str,
        session: onnxruntime.InferenceSession,
        model_tensors: ModelTensors,
        input_size_px: tuple[int, int],
    ) -> None:
        self.name = name
        self.input_size_px = input_size_px
        self._session: onnxruntime.InferenceSession | None = session
        self._tensors = model_tensors
        self._file = model_tensors.artefact.blob.file
        self._under_way = UnderWay()

    def run(self, batch: U8) -> Outputs:
        """See ``Engine.run``."""
        return tensors.each_view(batch, self.input_size_px, self._infer)

    def close(self) -> None:
        """See ``Engine.close``."""
        self._session = None

    def cancel(self, thread_id: int) -> bool:
        """See ``Cancellable.cancel``: onnxruntime looks at the flag between two operators."""
        return self._under_way.cancel(thread_id)

    def _infer(self, view: U8) -> Outputs:
        session = self._session
        if session is None:
            raise EngineError(f"{self._file}: the engine was closed")
        names = [info.name for info in self._tensors.exits.values()]
        feed = {self._tensors.entry.name: self._tensors.pictures.tensor(view)}
        options = onnxruntime.RunOptions()
        try:
            with self._under_way.run(lambda: setattr(options, "terminate", True)), denormals.as_zero():
                arrays = session.run(names, feed, options)
        except _ERRORS as error:
            raise EngineError(f"{self._file}: onnxruntime: {_first_line(error)}") from None
        return self._tensors.outputs(dict(zip(self._tensors.exits, arrays, strict=True)))


def load(
    name: str,
    artefact: Artefact,
    path: Path,
    classes: int,
    input_size_px: tuple[int, int] | None,
    threads: int,
) -> OnnxRuntimeEngine:
    """Load a verified ONNX file and hold it against its manifest, with one run. Raises EngineError."""
    size_px = tensors.input_size(artefact, input_size_px)
    wanted = providers.NAMES[name]
    absence = absent(name)
    if absence is not None:
        raise EngineError(f"engine {name}: {absence}")
    try:
        with denormals.as_zero():
            session = onnxruntime.InferenceSession(
                str(path),
                sess_options=_options(threads),
                providers=[(wanted, providers.options(name, artefact, size_px, threads))],
                # Without this it tries the CPU after a failure, and reports that on standard output alone.
                enable_fallback=0,
            )
    except _ERRORS as error:
        if type(error).__name__ in ("InvalidProtobuf", "NoModel"):
            raise EngineError(f"{path}: is not an ONNX file") from None
        if "Please install" in str(error):
            raise EngineError(_cannot_start(name)) from None
        raise EngineError(f"{path}: onnxruntime cannot load it: {_first_line(error)}") from None
    if session.get_providers()[0] != wanted:
        raise EngineError(_cannot_start(name))
    inputs, outputs = (
        [_info(item) for item in items] for items in (session.get_inputs(), session.get_outputs())
    )
    checked = tensors.check_model(artefact, classes, inputs, outputs, size_px)
    engine = OnnxRuntimeEngine(name, session, checked, size_px)
    tensors.run_once(engine)
    return engine


def described(path: Path) -> tuple[list[TensorInfo], list[TensorInfo]]:
    """What a file's graph takes and gives. Raises EngineError."""
    try:
        with denormals.as_zero():
            session = onnxruntime.InferenceSession(str(path), _options(1), providers=["CPUExecutionProvider"])
    except _ERRORS as error:
        raise EngineError(f"{path}: onnxruntime cannot load it: {_first_line(error)}") from None
    return [_info(item) for item in session.get_inputs()], [_info(item) for item in session.get_outputs()]


def absent(name: str) -> str | None:
    """Why the engine ``name`` cannot work on this machine; None where it can."""
    wanted = providers.NAMES[name]
    if wanted not in onnxruntime.get_available_providers():
        return f"this onnxruntime {onnxruntime.__version__} has no {wanted}; `{ENGINES[name].install}`"
    return hardware.absence(name)


def device(name: str) -> str:
    """What it runs on, in words."""
    return ", ".join(hardware.nvidia_gpus()) if ENGINES[name].accelerator else "CPU"


def _cannot_start(name: str) -> str:
    return (
        f"engine {name}: onnxruntime has {providers.NAMES[name]} but cannot start it here: a library of "
        f"{providers.NEEDS[name]} is missing or does not fit; `engine: onnxruntime` runs on the CPU"
    )


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A third less CPU at a paced 5 frames a second, for 1 ms of latency.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The first session of a process decides for the thread that makes it: without this it would undo what
    # ``denormals`` sets.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.enable_cpu_mem_arena = True
    # Errors only: exporters' harmless habits fill screens with warnings.
    options.log_severity_level = 3
    return options


def _info(item: onnxruntime.NodeArg) -> TensorInfo:
    shape = tuple(extent if isinstance(extent, int) and extent > 0 else None for extent in item.shape)
    return TensorInfo(str(item.name), shape, _TYPES.get(item.type, str(item.type)))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

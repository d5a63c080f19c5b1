"""Run ONNX graphs while building models: onnxruntime, one thread, arrays in and out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime

from edgeseg.errors import ModelError

Array = npt.NDArray[np.generic]

_CODES = onnxruntime.capi.onnxruntime_pybind11_state
# onnxruntime's exceptions share no base but Exception.
_LOAD_ERRORS: tuple[type[Exception], ...] = (
    _CODES.Fail,
    _CODES.InvalidGraph,
    _CODES.InvalidProtobuf,
    _CODES.NoSuchFile,
    _CODES.NotImplemented,
    RuntimeError,
    ValueError,
)


class Session:
    """A graph from a file, or one that is still in memory. Raises ModelError if it cannot be loaded."""

    def __init__(self, graph: Path | ir.Model, *, optimise: bool = True) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        if not optimise:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        source = str(graph) if isinstance(graph, Path) else ir.to_proto(graph).SerializeToString()
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except _LOAD_ERRORS as error:
            raise ModelError(f"graph: onnxruntime cannot load it: {str(error).splitlines()[0]}") from error

    def run(self, x: Array) -> dict[str, Array]:
        """Answers by output name."""
        names = [output.name for output in self._session.get_outputs()]
        answers = self._session.run(names, {self._session.get_inputs()[0].name: x})
        return dict(zip(names, answers, strict=True))

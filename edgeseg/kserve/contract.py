"""Contract: compares a server's model with the manifest, without any inference library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgeseg.engines import tensors
from edgeseg.engines.tensors import TensorInfo
from edgeseg.errors import EngineError
from edgeseg.models.model import Artefact, Blob, Form, InputSpec, Model, OutputSpec, Role

_DTYPES = {"FP32": "float32", "UINT8": "uint8", "INT8": "int8", "INT32": "int32", "INT64": "int64"}
_TRITON_TYPES = {name: kind for kind, name in _DTYPES.items()}
_ROLES: tuple[tuple[Form, tuple[Role, ...]], ...] = (
    ("deploy", ("labels", "confidence")),
    ("labels", ("labels",)),
)


@dataclass(frozen=True, slots=True)
class Contract:
    """How the model there is to be used: what it takes and gives, as an artefact of the manifest would."""

    artefact: Artefact
    entry: TensorInfo
    datatype: str
    shape: tuple[int, ...]
    exits: Mapping[Role, TensorInfo]


def agree(model: Model, where: str, metadata: Any, size_px: tuple[int, int] | None) -> Contract:
    """Labels and confidence of uint8 NHWC pictures, or what an artefact of the manifest takes and gives.

    size_px: None where pictures go as JPEG. Raises EngineError.
    """
    entries = [_info(item) for item in metadata.inputs]
    exits = [_info(item) for item in metadata.outputs]
    if size_px is None:
        return _agree_on_jpeg(model, where, metadata, exits)
    refusals = []
    for artefact in (*_deployed(model, where, exits), *model.artefacts):
        named = replace(artefact, blob=replace(artefact.blob, file=where))
        try:
            entry = tensors.find_input(named, entries, size_px)
            roles = tensors.find_outputs(named, exits)
        except EngineError as error:
            refusals.append(str(error))
            continue
        shape = tensors.tensor_shape(named.input, size_px)
        return Contract(named, entry, _TRITON_TYPES[named.input.dtype], shape, roles)
    took, gave = (", ".join(str(info) for info in infos) for infos in (entries, exits))
    width, height = size_px
    raise EngineError(
        f"{where} takes {took} and gives {gave}; expected uint8 1x{height}x{width}x3 and labels, or what the "
        f"manifest of {model.name} says: serve this model at {width}x{height} there"
    )


def _agree_on_jpeg(model: Model, where: str, metadata: Any, exits: list[TensorInfo]) -> Contract:
    taken = metadata.inputs
    deployed = _deployed(model, where, exits)
    if len(taken) != 1 or taken[0].datatype != "BYTES" or not deployed:
        listed = ", ".join(f"'{item.name}' {item.datatype}" for item in taken)
        raise EngineError(
            f"{where} takes {listed}; transport jpeg needs a model that takes a JPEG as BYTES and gives "
            "labels, as `edgeseg serve` has one: use transport raw"
        )
    entry = TensorInfo(taken[0].name, (), "bytes")
    artefact = deployed[0]
    shape = (1,) * max(1, len(taken[0].shape))
    return Contract(artefact, entry, "BYTES", shape, tensors.find_outputs(artefact, exits))


def _deployed(model: Model, where: str, exits: list[TensorInfo]) -> tuple[Artefact, ...]:
    """The deploy form under its plain names; nothing where the server's outputs are called otherwise."""
    names = {info.name for info in exits}
    for form, roles in _ROLES:
        if names >= set(roles):
            spec = InputSpec(
                None, model.input.size_px, 1, "nhwc", "uint8", "rgb", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
            )
            output = OutputSpec(form, "nhwc", tuple((role, role) for role in roles))
            return (Artefact(Blob(where, 1, "0" * 64, None), "onnx", "float", None, spec, output),)
    return ()


def _info(item: Any) -> TensorInfo:
    shape = tuple(extent if extent > 0 else None for extent in item.shape)
    return TensorInfo(str(item.name), shape, _DTYPES.get(item.datatype, str(item.datatype)))

"""Manifest file: the keys of ``model.yaml``, and what each may hold."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from edgeseg.models.model import (
    LONGEST_SIDE_PX,
    SHORTEST_SIDE_PX,
    Flavour,
    Form,
    Format,
    Layout,
    Precision,
    Role,
    Triple,
)
from edgeseg.settings import FitName
from edgeseg.yamlfile import quoted


def _text(pattern: str, expected: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"got {quoted(text)}, expected {expected}")
        return text

    return AfterValidator(check)


_Name = Annotated[str, _text(r"[a-z0-9][a-z0-9._-]{0,63}", "lower-case letters, digits, '.', '-' and '_'")]
_ClassName = Annotated[str, _text(r"[a-z0-9][a-z0-9_-]{0,63}", "lower-case letters, digits, '-' and '_'")]
# A manifest must not be able to point out of its folder.
_File = Annotated[str, _text(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}", "a plain file name without a folder")]
_Url = Annotated[str, _text(r"https?://[^\s@]+", "an http or https URL without credentials")]
_Sha256 = Annotated[str, _text(r"[0-9a-f]{64}", "64 lower-case hexadecimal digits")]
_Channel = Annotated[int, Field(strict=True, ge=0, le=255)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


def _positive(values: Triple) -> Triple:
    if min(values) <= 0:
        raise ValueError(f"std must be above 0 in every channel, got {list(values)}")
    return values


def _size(text: str) -> str:
    width, _, height = text.partition("x")
    sides = [int(side) if re.fullmatch("[0-9]{1,4}", side) else 0 for side in (width, height)]
    if not all(SHORTEST_SIDE_PX <= side <= LONGEST_SIDE_PX for side in sides):
        raise ValueError(
            f"got {quoted(text)}, expected WIDTHxHEIGHT, each from {SHORTEST_SIDE_PX} to {LONGEST_SIDE_PX}"
        )
    return text


_Size = Annotated[str, AfterValidator(_size)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class InputFile(_Strict, title="input"):
    """The picture tensor: value = (pixel / scale - mean) / std."""

    name: str | None = None
    size: _Size
    multiple_of: Annotated[int, Field(strict=True, ge=1, le=256)] | None = None
    layout: Layout = "nhwc"
    dtype: Literal["uint8", "int8", "float32"] = "uint8"
    colour: Literal["rgb", "bgr"] = "rgb"
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    mean: tuple[_Finite, _Finite, _Finite] = (0.0, 0.0, 0.0)
    std: Annotated[tuple[_Finite, _Finite, _Finite], AfterValidator(_positive)] = (1.0, 1.0, 1.0)


class InputPartFile(InputFile, title="input of one artefact"):
    """What one artefact does differently."""

    size: _Size = "0x0"


class OutputFile(_Strict, title="output"):
    """The answer, and which tensor carries which part of it."""

    form: Form
    layout: Layout = "nhwc"
    names: dict[Role, str] = {}


class OutputPartFile(OutputFile, title="output of one artefact"):
    """What one artefact does differently."""

    form: Form = "logits"


class BlobFile(_Strict, title="file"):
    file: _File
    bytes: Annotated[int, Field(strict=True, gt=0, le=2**31)]
    sha256: _Sha256
    url: _Url | None = None


class OccupancyErrorFile(_Strict, title="occupancy error"):
    """Percentage points."""

    mean: _Finite
    p95: _Finite


_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class FiguresFile(_Strict, title="figures"):
    """The gate's figures, as `edgeseg models quantize` stores them."""

    calibrated_on: Annotated[int, Field(ge=1)]
    judged_on: Annotated[int, Field(ge=1)]
    agreement: _Share
    agreement_iou: dict[str, _Share] = {}
    occupancy_error: OccupancyErrorFile
    shift_cells: tuple[_Finite, _Finite]
    forced: bool = False


class ArtefactFile(BlobFile, title="artefact"):
    """One file to run, with its identity."""

    format: Format
    precision: Precision
    flavour: Flavour = "cpu"
    figures: FiguresFile | None = None
    weights: BlobFile | None = None
    input: InputPartFile | None = None
    output: OutputPartFile | None = None


class ClassFile(_Strict, title="class"):
    name: _ClassName
    colour: tuple[_Channel, _Channel, _Channel]


class SizeScoreFile(_Strict, title="size"):
    """One measured input size."""

    size: _Size
    miou: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class ManifestFile(_Strict, title="edgeseg model manifest"):
    """A model folder's model.yaml."""

    name: _Name
    title: Annotated[str, StringConstraints(min_length=1)]
    licence: Annotated[str, StringConstraints(min_length=1)]
    artefacts: Annotated[list[ArtefactFile], Field(min_length=1)]
    input: InputFile
    output: OutputFile
    fit: FitName = "stretch"
    classes: Annotated[list[ClassFile], Field(min_length=2, max_length=256)]
    sizes: list[SizeScoreFile] = []

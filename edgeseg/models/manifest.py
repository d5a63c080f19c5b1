"""Manifest: reads and checks ``models/<name>/model.yaml``, which says what a network takes and gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from edgeseg import yamlfile
from edgeseg.errors import ConfigError, Problem
from edgeseg.models.model import (
    LONGEST_SIDE_PX,
    ROLES,
    SHORTEST_SIDE_PX,
    Artefact,
    Blob,
    Figures,
    Flavour,
    Form,
    Format,
    InputSpec,
    Layout,
    Model,
    OutputSpec,
    Precision,
    Role,
    SizeScore,
    Triple,
)
from edgeseg.settings import FitName

MANIFEST = "model.yaml"
CARD = "card.md"


def load(path: Path) -> Model:
    """Read a manifest file. Raises ConfigError with all its problems at once."""
    data, places = yamlfile.load(path)
    try:
        parsed = _Manifest.model_validate(data)
    except ValidationError as error:
        raise ConfigError(yamlfile.problems_from(error, places, str(path), _Manifest)) from None
    wrong = [
        Problem(str(path), *places.of(at), yamlfile.dotted(at), message)
        for at, message in _contradictions(parsed, path)
    ]
    if wrong:
        raise ConfigError(wrong)
    return _model(parsed, path.parent, places.digest)


def json_schema() -> dict[str, Any]:
    """JSON Schema of a manifest, for editors."""
    return yamlfile.editor_schema(_Manifest)


def _text(pattern: str, words: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"got {yamlfile.quoted(text)}, expected {words}")
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
            f"got {yamlfile.quoted(text)}, expected WIDTHxHEIGHT, each from {SHORTEST_SIDE_PX} to "
            f"{LONGEST_SIDE_PX}"
        )
    return text


_Size = Annotated[str, AfterValidator(_size)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Input(_Strict, title="input"):
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


class _InputPart(_Input, title="input of one artefact"):
    """What one artefact does differently."""

    size: _Size = "0x0"


class _Output(_Strict, title="output"):
    """The answer, and which tensor carries which part of it."""

    form: Form
    layout: Layout = "nhwc"
    names: dict[Role, str] = {}


class _OutputPart(_Output, title="output of one artefact"):
    """What one artefact does differently."""

    form: Form = "logits"


class _Blob(_Strict, title="file"):
    file: _File
    bytes: Annotated[int, Field(strict=True, gt=0, le=2**31)]
    sha256: _Sha256
    url: _Url | None = None


class _OccupancyError(_Strict, title="occupancy error"):
    """Percentage points."""

    mean: _Finite
    p95: _Finite


_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Figures(_Strict, title="figures"):
    """The gate's figures, as `edgeseg models quantize` stores them."""

    calibrated_on: Annotated[int, Field(ge=1)]
    judged_on: Annotated[int, Field(ge=1)]
    agreement: _Share
    agreement_iou: dict[str, _Share] = {}
    occupancy_error: _OccupancyError
    shift_cells: tuple[_Finite, _Finite]
    forced: bool = False


class _Artefact(_Blob, title="artefact"):
    """One file to run, with its identity."""

    format: Format
    precision: Precision
    flavour: Flavour = "cpu"
    figures: _Figures | None = None
    weights: _Blob | None = None
    input: _InputPart | None = None
    output: _OutputPart | None = None


class _Class(_Strict, title="class"):
    name: _ClassName
    colour: tuple[_Channel, _Channel, _Channel]


class _SizeScore(_Strict, title="size"):
    """One measured input size."""

    size: _Size
    miou: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Manifest(_Strict, title="edgeseg model manifest"):
    """A model folder's model.yaml."""

    name: _Name
    title: Annotated[str, StringConstraints(min_length=1)]
    licence: Annotated[str, StringConstraints(min_length=1)]
    artefacts: Annotated[list[_Artefact], Field(min_length=1)]
    input: _Input
    output: _Output
    fit: FitName = "stretch"
    classes: Annotated[list[_Class], Field(min_length=2, max_length=256)]
    sizes: list[_SizeScore] = []


def _merged_input(common: _Input, part: _InputPart | None) -> InputSpec:
    fields = common.model_dump() | (part.model_dump(exclude_unset=True) if part else {})
    return InputSpec(size_px=_size_px(fields.pop("size")), **fields)


def _size_px(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def _merged_output(common: _Output, part: _OutputPart | None) -> OutputSpec:
    fields = common.model_dump() | (part.model_dump(exclude_unset=True) if part else {})
    return OutputSpec(fields["form"], fields["layout"], tuple(fields["names"].items()))


def _contradictions(parsed: _Manifest, path: Path) -> list[tuple[yamlfile.KeyPath, str]]:
    """What is wrong between fields that are right each by itself."""
    wrong: list[tuple[yamlfile.KeyPath, str]] = []
    folder = path.resolve().parent.name
    if path.name == MANIFEST and parsed.name != folder:
        wrong.append((("name",), f"got '{parsed.name}', but its folder is called '{folder}'"))
    seen: dict[str, int] = {}
    for index, entry in enumerate(parsed.classes):
        if entry.name in seen:
            message = f"'{entry.name}' is class {seen[entry.name]} already; names must differ"
            wrong.append((("classes", index, "name"), message))
        seen.setdefault(entry.name, index)
    specs = [_merged_input(parsed.input, artefact.input) for artefact in parsed.artefacts]
    for index, score in enumerate(parsed.sizes):
        refusals = [spec.refusal(_size_px(score.size)) for spec in specs]
        if None not in refusals:
            wrong.append((("sizes", index, "size"), f"got {refusals[0]}"))
    files: set[str] = set()
    for index, artefact in enumerate(parsed.artefacts):
        here: yamlfile.KeyPath = ("artefacts", index)
        for name in artefact.figures.agreement_iou if artefact.figures else ():
            if name not in seen:
                wrong.append(((*here, "figures", "agreement_iou", name), "is no class of this model"))
        for blob in (artefact, artefact.weights):
            if blob is not None and blob.file in files:
                wrong.append(((*here, "file"), f"'{blob.file}' is listed twice"))
            files |= {blob.file} if blob is not None else set()
        if (artefact.format == "openvino") != (artefact.weights is not None):
            wrong.append(((*here, "weights"), "is for the .bin of an openvino artefact, and it needs one"))
        entered = _merged_input(parsed.input, artefact.input)
        at = (*here, "input") if artefact.input else ("input",)
        refusal = entered.refusal(entered.size_px)
        if refusal:
            wrong.append(((*at, "size"), f"got {refusal}"))
        answered = _merged_output(parsed.output, artefact.output)
        at = (*here, "output") if artefact.output else ("output",)
        if answered.names and {role for role, _ in answered.names} != set(ROLES[answered.form]):
            wanted = " and ".join(ROLES[answered.form])
            wrong.append(((*at, "names"), f"form {answered.form} needs names for {wanted}, and no others"))
        if answered.form == "mask" and len(parsed.classes) != 2:
            wrong.append((("classes",), f"{len(parsed.classes)} classes, but form mask tells 2 apart"))
    return list(dict.fromkeys(wrong))


def _model(parsed: _Manifest, folder: Path, digest: str) -> Model:
    artefacts = tuple(
        Artefact(
            _blob(entry),
            entry.format,
            entry.precision,
            _blob(entry.weights) if entry.weights else None,
            _merged_input(parsed.input, entry.input),
            _merged_output(parsed.output, entry.output),
            entry.flavour,
            _figures(entry.figures) if entry.figures else None,
        )
        for entry in parsed.artefacts
    )
    palette = np.array([entry.colour for entry in parsed.classes], np.uint8)
    palette.flags.writeable = False
    return Model(
        name=parsed.name,
        title=parsed.title,
        licence=parsed.licence,
        folder=folder,
        artefacts=artefacts,
        input=artefacts[0].input,
        fit=parsed.fit,
        classes=tuple(entry.name for entry in parsed.classes),
        palette=palette,
        digest=digest,
        sizes=tuple(
            sorted(
                (SizeScore(_size_px(score.size), score.miou) for score in parsed.sizes),
                key=lambda score: -score.size_px[0] * score.size_px[1],
            )
        ),
    )


def _blob(entry: _Blob) -> Blob:
    return Blob(entry.file, entry.bytes, entry.sha256, entry.url)


def _figures(entry: _Figures) -> Figures:
    return Figures(
        entry.calibrated_on,
        entry.judged_on,
        entry.agreement,
        tuple(entry.agreement_iou.items()),
        entry.occupancy_error.mean,
        entry.occupancy_error.p95,
        entry.shift_cells,
        entry.forced,
    )

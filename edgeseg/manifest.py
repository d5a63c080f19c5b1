"""``models/<name>/model.yaml``: what a network is, what it wants and what it answers, frozen and checked.

The one formula of normalisation, per channel in the network's own channel order:

    value = (pixel / scale - mean) / std        pixel: 0-255

A float tensor gets ``value``. An integer tensor that carries its own scale and zero point (TFLite) gets
``value`` quantised by them, one without gets ``value`` rounded. A ``uint8`` tensor whose formula is left
out gets the pixels as they are, whatever it says about itself: that is what Coral's networks expect.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from edgeseg import yamlfile
from edgeseg.errors import ConfigError, Problem
from edgeseg.frames import U8
from edgeseg.settings import LONGEST_SIDE_PX, SHORTEST_SIDE_PX, FitName

MANIFEST = "model.yaml"
CARD = "card.md"

Format = Literal["onnx", "tflite", "openvino"]
Precision = Literal["float", "int8"]
Flavour = Literal["cpu", "tensorrt"]
Layout = Literal["nhwc", "nchw"]
Form = Literal["logits", "probabilities", "labels", "deploy", "mask"]
Role = Literal["logits", "probabilities", "labels", "confidence", "mask"]
ROLES: dict[Form, tuple[Role, ...]] = {
    "logits": ("logits",),
    "probabilities": ("probabilities",),
    "labels": ("labels",),
    "deploy": ("labels", "confidence"),
    "mask": ("mask",),
}
Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The picture tensor.

    size_px: (width, height); the only size, or where ``multiple_of`` is set the default one.
    multiple_of: width and height may be any multiple of it; None where the size is fixed.
    scale, mean, std: see the module's formula. name: tensor name, None for the only input.
    """

    name: str | None
    size_px: tuple[int, int]
    multiple_of: int | None
    layout: Layout
    dtype: Literal["uint8", "int8", "float32"]
    colour: Literal["rgb", "bgr"]
    scale: float
    mean: Triple
    std: Triple

    @property
    def raw(self) -> bool:
        """Whether the tensor takes pixels as they are."""
        return (self.scale, self.mean, self.std) == (1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def refusal(self, size_px: tuple[int, int]) -> str | None:
        """Why the network cannot take pictures of (width, height), None where it can."""
        width, height = size_px
        step = self.multiple_of
        if step is None and size_px != self.size_px:
            return f"{width}x{height}, but the network's size is fixed at {self.size_px[0]}x{self.size_px[1]}"
        if step is not None and (width < step or height < step or width % step or height % step):
            return f"{width}x{height}, but the network's width and height must be multiples of {step}"
        return None


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """The answer.

    form: ``logits`` and ``probabilities`` have a channel for each class; ``labels`` has the argmax inside;
        ``deploy`` has labels and confidence; ``mask`` is one logit, class 1 where it is above 0.
    layout: where the channels of logits, probabilities or mask stand.
    names: (role, tensor name); empty where the network has exactly the outputs of its form, in order.
    """

    form: Form
    layout: Layout
    names: tuple[tuple[Role, str], ...]


@dataclass(frozen=True, slots=True)
class Blob:
    """One file with its identity: a plain file name, size, lower-case sha256, and where it came from."""

    file: str
    bytes: int
    sha256: str
    url: str | None


@dataclass(frozen=True, slots=True)
class Figures:
    """How an int8 artefact compared with the float one on frames of the user's, when it was made.

    calibrated_on, judged_on: how many views. agreement: share of equal labels, 0-1; agreement_iou: the same
    by class, classes that neither found left out. occupancy_mean, occupancy_p95: difference of a class's
    share of a zone, percentage points. shift_cells: (x, y). forced: installed although it failed the gate.
    """

    calibrated_on: int
    judged_on: int
    agreement: float
    agreement_iou: tuple[tuple[str, float], ...]
    occupancy_mean: float
    occupancy_p95: float
    shift_cells: tuple[float, float]
    forced: bool

    def sentence(self) -> str:
        """One line for people."""
        x, y = self.shift_cells
        return (
            f"agrees with float on {self.agreement:.1%} of {self.judged_on} frames, zones differ by "
            f"{self.occupancy_mean:.2f} points (95th percentile {self.occupancy_p95:.2f}), "
            f"shift {x:+.2f}, {y:+.2f} cells" + (", installed by force" if self.forced else "")
        )


@dataclass(frozen=True, slots=True)
class Artefact:
    """One way to run the network: a file in one format. ``weights``: OpenVINO's .bin beside its .xml.

    flavour: whom an int8 ONNX file was quantized for. figures: None where nobody measured.
    """

    blob: Blob
    format: Format
    precision: Precision
    weights: Blob | None
    input: InputSpec
    output: OutputSpec
    flavour: Flavour = "cpu"
    figures: Figures | None = None

    @property
    def blobs(self) -> tuple[Blob, ...]:
        return (self.blob,) if self.weights is None else (self.blob, self.weights)


@dataclass(frozen=True, slots=True)
class SizeScore:
    """How well the network does at one input size. miou: 0-1, of the artefact that runs by default, on the
    data that the card names."""

    size_px: tuple[int, int]
    miou: float


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A network as its manifest describes it; the weights may not be there yet.

    folder: where the manifest is. input: of the first artefact, the size a camera gets by default.
    palette: uint8 (number of classes, 3) RGB, read-only. digest: sha256 of the manifest's bytes.
    sizes: measured input sizes, largest first: how far down a busy device may go, and what it costs.
    """

    name: str
    title: str
    licence: str
    folder: Path
    artefacts: tuple[Artefact, ...]
    input: InputSpec
    fit: FitName
    classes: tuple[str, ...]
    palette: U8
    digest: str
    sizes: tuple[SizeScore, ...] = ()


def load(path: Path) -> Model:
    """Read a manifest file. Raises ConfigError with all its problems at once."""
    data, places = yamlfile.load(path)
    try:
        parsed = _Manifest.model_validate(data)
    except ValidationError as error:
        raise ConfigError(yamlfile.problems_from(error, places, str(path), _Manifest)) from None
    wrong = [
        Problem(str(path), *places.of(steps), yamlfile.dotted(steps), message)
        for steps, message in _contradictions(parsed, path)
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
            raise ValueError(f"got {yamlfile.shown(text)}, expected {words}")
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
            f"got {yamlfile.shown(text)}, expected WIDTHxHEIGHT, each from {SHORTEST_SIDE_PX} to "
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


def _contradictions(parsed: _Manifest, path: Path) -> list[tuple[yamlfile.Steps, str]]:
    """What is wrong between fields that are right each by itself."""
    wrong: list[tuple[yamlfile.Steps, str]] = []
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
        here: yamlfile.Steps = ("artefacts", index)
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

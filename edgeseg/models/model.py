"""Model: what a network is, what it takes and what it gives. Frozen dataclasses.

The one formula of normalisation, per channel in the network's own channel order:

    value = (pixel / scale - mean) / std        pixel: 0-255

A float tensor gets ``value``. An integer tensor that carries its own scale and zero point (TFLite) gets
``value`` quantised by them, one without gets ``value`` rounded. A ``uint8`` tensor whose formula is left
out gets the pixels as they are, whatever it says about itself: that is what Coral's networks expect.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeseg.frames import U8
from edgeseg.settings import FitName

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

    flavour: whom an int8 ONNX file was quantized for. figures: None without a measurement.
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

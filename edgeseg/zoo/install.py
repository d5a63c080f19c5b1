"""Model folders of the user's own: a checkpoint becomes one, and one gets an int8 artefact.

A new folder appears when it is complete. In a folder that is there the new file comes first, under a name of
its own, then the manifest that lists it, and then the file that nobody lists any more goes: whatever happens
in between, the model runs.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgeseg.errors import ModelError
from edgeseg.frames import U8
from edgeseg.models import manifest, registry
from edgeseg.models.manifest import CARD, MANIFEST
from edgeseg.models.model import Artefact, Figures, Flavour, Model
from edgeseg.system import paths
from edgeseg.system.atomic_files import INTACT, temporary_sibling
from edgeseg.zoo import export, gate, importing, surgery
from edgeseg.zoo.build import deploy_graph
from edgeseg.zoo.data import read_picture
from edgeseg.zoo.hub import fetch_checkpoint
from edgeseg.zoo.manifest_text import fresh, with_artefact
from edgeseg.zoo.onnx_session import Session
from edgeseg.zoo.quantize import quantize
from edgeseg.zoo.sizes import size_of
from edgeseg.zoo.state import load_network
from edgeseg.zoo.views import views_of

NEVER_RUN = "Symmetric, for TensorRT; never run on TensorRT itself."
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an imported model will be called. size: WIDTHxHEIGHT, the input by default."""

    name: str
    title: str
    licence: str
    size: str


def to_stderr(line: str) -> None:
    """The default report."""
    print(line, file=sys.stderr, flush=True)


def own_folder(into: Path | None) -> Path:
    """Where the user's models are: ``into``, the first of EDGESEG_MODELS, or ``models`` in this folder.

    Raises ModelError where that would be edgeseg's own.
    """
    if into is not None:
        return into
    listed = [part for part in os.environ.get("EDGESEG_MODELS", "").split(os.pathsep) if part]
    chosen = Path(listed[0] if listed else "models")
    if chosen.resolve() == paths.folder("models").resolve():
        raise ModelError(
            f"{chosen}: is edgeseg's own folder; name one of yours with --into DIR or EDGESEG_MODELS"
        )
    return chosen


def import_model(origin: str, wanted: Wanted, into: Path | None = None) -> Path:
    """Make a model folder of a checkpoint: a folder in transformers' format, OWNER/NAME at Hugging Face, or a
    ``best.pt`` of ours. Returns the folder.

    Raises ModelError for another architecture, missing parts, or a graph that answers differently from its
    network; EdgesegError where it cannot be written. Nothing stays of it then.
    """
    if not NAME.fullmatch(wanted.name):
        raise ModelError(f"--name {wanted.name}: expected lower-case letters, digits, '.', '-' and '_'")
    size_px = size_of(wanted.size)
    folder = own_folder(into) / wanted.name
    if folder.exists():
        raise ModelError(f"{folder}: is there already; choose another --name, or delete it")
    graph, classes = _graph_of(origin)
    with _making(folder) as partial:
        surgery.halve_weights(graph)
        export.save_model(graph, partial / "float.onnx")
        artefact = _described(partial / "float.onnx", "float")
        text = fresh(wanted.name, wanted.title, wanted.licence, size_px, classes, artefact)
        (partial / MANIFEST).write_text(text, encoding="utf-8")
        (partial / CARD).write_text(_card(origin, wanted, classes), encoding="utf-8")
        manifest.load(partial / MANIFEST)
        partial.rename(folder)
    return folder


def quantize_model(
    model: Model,
    frames: Path,
    into: Path | None = None,
    flavour: Flavour = "cpu",
    *,
    thresholds: gate.Thresholds | None = None,
    force: bool = False,
    report: Callable[[str], None] = to_stderr,
) -> tuple[Path, Figures]:
    """Calibrate on every second of the user's frames, judge on the others, install. Returns folder and
    figures.

    A model that travels with edgeseg is copied to ``own_folder(into)`` first, any other changed where it is.
    Raises ModelError if it has no float deploy graph, there are fewer than two frames, or the gate refuses
    (overruled by ``force``); EdgesegError where nothing can be written. The model is then as it was.
    """
    source = _float_graph(model)
    path = registry.artefact_path(model, source)
    folder = _target(model, into)
    views = views_of(frames, source.input.size_px, fit=model.fit)
    if len(views) < 2:
        raise ModelError(f"{frames}: {len(views)} frame, need at least 2: one to calibrate, one to judge on")
    calibration, judged = views[0::2], views[1::2]
    with _making(folder) as partial:
        report(
            f"calibrating on {len(calibration)} frames of {source.input.size_px[0]}x{source.input.size_px[1]}"
        )
        made = partial / "int8.onnx"
        quantize(path, calibration, made, flavour)
        report(f"judging on {len(judged)} others")
        verdict = gate.judge(_labels(path, judged), _labels(made, judged), len(model.classes))
        refused = verdict.refusals(thresholds or gate.Thresholds())
        if refused and not force:
            raise ModelError(
                f"model {model.name}: int8 fails the gate: {'; '.join(refused)}; not installed: calibrate on "
                "more and more varied frames, stay with float, or overrule with --force"
            )
        figures = _figures(verdict, model.classes, len(calibration), bool(refused))
        _install(model, folder, partial, made, flavour, figures)
    return folder, figures


def _graph_of(origin: str) -> tuple[ir.Model, tuple[str, ...]]:
    path = Path(origin).expanduser()
    if path.is_file():
        network, classes = load_network(path)
        return deploy_graph(network, _pictures(), origin), classes
    if not path.is_dir():
        if not HUB_ID.fullmatch(origin):
            raise ModelError(
                f"{origin}: no such file or folder; at Hugging Face models are called OWNER/NAME"
            )
        path = fetch_checkpoint(origin)
    imported = importing.read(path)
    return importing.to_deploy(imported, _pictures()), imported.classes


def _pictures() -> list[U8]:
    """Street scenes that travel with edgeseg, to compare graph and network on: noise is all near-ties."""
    found = sorted(paths.folder("models").glob("*/overlay-*.jpg"))
    return [read_picture(path) for path in found[:2]]


def _float_graph(model: Model) -> Artefact:
    for artefact in model.artefacts:
        if (artefact.format, artefact.precision, artefact.output.form) == ("onnx", "float", "deploy"):
            return artefact
    has = ", ".join(
        f"{artefact.format} {artefact.precision} with {artefact.output.form}" for artefact in model.artefacts
    )
    raise ModelError(
        f"model {model.name}: has no float ONNX deploy graph to quantize, only {has}; "
        "`edgeseg models import` makes one from a checkpoint"
    )


def _target(model: Model, into: Path | None) -> Path:
    """The folder that will hold the int8 artefact. Raises ModelError."""
    packaged = model.folder.resolve().parent == paths.folder("models").resolve()
    if into is None and not packaged:
        return model.folder
    folder = own_folder(into) / model.name
    if folder.exists() and folder.resolve() != model.folder.resolve():
        raise ModelError(f"{folder}: is there already; name it by its path, or choose another --into")
    return folder


@contextmanager
def _making(folder: Path) -> Iterator[Path]:
    """A new folder of the model's name on the same disk; after an error nothing is left of it."""
    there = folder.parent.exists()
    try:
        with temporary_sibling(folder, INTACT) as outside:
            partial = outside / folder.name
            partial.mkdir()
            yield partial
    except BaseException:
        if not there:
            # It may hold what somebody else put there meanwhile.
            with suppress(OSError):
                folder.parent.rmdir()
        raise


def _install(
    model: Model, folder: Path, partial: Path, made: Path, flavour: Flavour, figures: Figures
) -> None:
    """partial: an empty folder but for ``made``, called as the model is."""
    digest = registry.sha256(made)
    file = f"{'int8' if flavour == 'cpu' else 'tensorrt-int8'}-{digest[:8]}.onnx"
    made = made.rename(made.with_name(file))
    old = next(
        (
            artefact.blob.file
            for artefact in model.artefacts
            if (artefact.format, artefact.precision, artefact.flavour) == ("onnx", "int8", flavour)
        ),
        None,
    )
    entry = _described(made, "int8", flavour) | {"figures": _as_written(figures)}
    before = (model.folder / MANIFEST).read_text(encoding="utf-8")
    note = NEVER_RUN if flavour == "tensorrt" else ""
    (partial / MANIFEST).write_text(with_artefact(before, entry, old, note), encoding="utf-8")
    manifest.load(partial / MANIFEST)
    if folder.exists():
        made.replace(folder / file)
        (partial / MANIFEST).replace(folder / MANIFEST)
        if old not in (None, file):
            (folder / str(old)).unlink(missing_ok=True)
        return
    listed = {blob.file for artefact in model.artefacts for blob in artefact.blobs} - {old}
    for path in model.folder.iterdir():
        if path.is_file() and path.name not in (old, MANIFEST) and not path.name.endswith(".partial"):
            shutil.copy2(path, partial / path.name)
            listed.discard(path.name)
    for found in registry.inspect(model):
        # Weights that were fetched lie in the cache, under this model's name: they are found from there.
        if found.blob.file in listed and found.state == "missing" and found.blob.url is None:
            raise ModelError(
                f"model {model.name}: its weights {found.blob.file} are not here; pull them first"
            )
    partial.rename(folder)


def _described(path: Path, precision: str, flavour: Flavour = "cpu") -> dict[str, Any]:
    entry: dict[str, Any] = {"file": path.name, "format": "onnx", "precision": precision}
    if flavour != "cpu":
        entry["flavour"] = flavour
    return entry | {"bytes": path.stat().st_size, "sha256": registry.sha256(path)}


def _labels(graph: Path, views: Sequence[U8]) -> list[U8]:
    session = Session(graph)
    return [session.run(view[None])[surgery.LABELS][0].astype("uint8") for view in views]


def _figures(verdict: gate.Verdict, classes: Sequence[str], calibrated_on: int, forced: bool) -> Figures:
    by_class = zip(classes, verdict.class_iou, strict=True)
    return Figures(
        calibrated_on=calibrated_on,
        judged_on=verdict.pictures,
        agreement=round(verdict.agreement, 4),
        # NaN is the class that neither found.
        agreement_iou=tuple((name, round(value, 4)) for name, value in by_class if value == value),
        occupancy_mean=round(verdict.occupancy_mean, 3),
        occupancy_p95=round(verdict.occupancy_p95, 3),
        shift_cells=(round(verdict.shift_cells[0], 3), round(verdict.shift_cells[1], 3)),
        forced=forced,
    )


def _as_written(figures: Figures) -> dict[str, Any]:
    written: dict[str, Any] = {
        "calibrated_on": figures.calibrated_on,
        "judged_on": figures.judged_on,
        "agreement": figures.agreement,
        "agreement_iou": dict(figures.agreement_iou),
        "occupancy_error": {"mean": figures.occupancy_mean, "p95": figures.occupancy_p95},
        "shift_cells": list(figures.shift_cells),
    }
    return written | ({"forced": True} if figures.forced else {})


def _card(origin: str, wanted: Wanted, classes: Sequence[str]) -> str:
    # A folder of this machine tells nobody anything; an id at Hugging Face does.
    whence = Path(origin).name if Path(origin).exists() else origin
    return (
        f"# {wanted.title}\n\nImported from `{whence}` by `edgeseg models import`; the graph was checked "
        f"against the network it came from.\n\n- **Terms**: {wanted.licence}\n"
        f"- **Classes**: {', '.join(classes)}\n- **Bad at**: nobody has said yet\n"
    )

"""Manifest: reads and checks ``models/<name>/model.yaml``, which describes a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from edgeseg import yamlfile
from edgeseg.errors import ConfigError, Problem
from edgeseg.models.manifest_file import (
    BlobFile,
    FiguresFile,
    InputFile,
    InputPartFile,
    ManifestFile,
    OutputFile,
    OutputPartFile,
)
from edgeseg.models.model import ROLES, Artefact, Blob, Figures, InputSpec, Model, OutputSpec, SizeScore

MANIFEST = "model.yaml"
CARD = "card.md"


def load(path: Path) -> Model:
    """Read a manifest file. Raises ConfigError with all its problems at once."""
    data, places = yamlfile.load(path)
    try:
        parsed = ManifestFile.model_validate(data)
    except ValidationError as error:
        raise ConfigError(yamlfile.problems_from(error, places, str(path), ManifestFile)) from None
    problems = [
        Problem(str(path), *places.of(at), yamlfile.dotted(at), message)
        for at, message in _contradictions(parsed, path)
    ]
    if problems:
        raise ConfigError(problems)
    return _model(parsed, path.parent, places.digest)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a manifest, for editors."""
    return yamlfile.editor_schema(ManifestFile)


def _merged_input(common: InputFile, part: InputPartFile | None) -> InputSpec:
    fields = common.model_dump() | (part.model_dump(exclude_unset=True) if part else {})
    return InputSpec(size_px=_size_px(fields.pop("size")), **fields)


def _size_px(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def _merged_output(common: OutputFile, part: OutputPartFile | None) -> OutputSpec:
    fields = common.model_dump() | (part.model_dump(exclude_unset=True) if part else {})
    return OutputSpec(fields["form"], fields["layout"], tuple(fields["names"].items()))


def _contradictions(parsed: ManifestFile, path: Path) -> list[tuple[yamlfile.KeyPath, str]]:
    """Return the problems between keys that are valid each by itself, as (path, message)."""
    found: list[tuple[yamlfile.KeyPath, str]] = []
    folder = path.resolve().parent.name
    if path.name == MANIFEST and parsed.name != folder:
        found.append((("name",), f"got '{parsed.name}', but its folder is called '{folder}'"))
    seen: dict[str, int] = {}
    for index, entry in enumerate(parsed.classes):
        if entry.name in seen:
            message = f"'{entry.name}' is class {seen[entry.name]} already; names must differ"
            found.append((("classes", index, "name"), message))
        seen.setdefault(entry.name, index)
    specs = [_merged_input(parsed.input, artefact.input) for artefact in parsed.artefacts]
    for index, score in enumerate(parsed.sizes):
        refusals = [spec.refusal(_size_px(score.size)) for spec in specs]
        if None not in refusals:
            found.append((("sizes", index, "size"), f"got {refusals[0]}"))
    files: set[str] = set()
    for index, artefact in enumerate(parsed.artefacts):
        here: yamlfile.KeyPath = ("artefacts", index)
        for name in artefact.figures.agreement_iou if artefact.figures else ():
            if name not in seen:
                found.append(((*here, "figures", "agreement_iou", name), "is no class of this model"))
        for blob in (artefact, artefact.weights):
            if blob is not None and blob.file in files:
                found.append(((*here, "file"), f"'{blob.file}' is listed twice"))
            files |= {blob.file} if blob is not None else set()
        if (artefact.format == "openvino") != (artefact.weights is not None):
            found.append(((*here, "weights"), "is for the .bin of an openvino artefact, and it needs one"))
        entered = _merged_input(parsed.input, artefact.input)
        at = (*here, "input") if artefact.input else ("input",)
        refusal = entered.refusal(entered.size_px)
        if refusal:
            found.append(((*at, "size"), f"got {refusal}"))
        answered = _merged_output(parsed.output, artefact.output)
        at = (*here, "output") if artefact.output else ("output",)
        if answered.names and {role for role, _ in answered.names} != set(ROLES[answered.form]):
            wanted = " and ".join(ROLES[answered.form])
            found.append(((*at, "names"), f"form {answered.form} needs names for {wanted}, and no others"))
        if answered.form == "mask" and len(parsed.classes) != 2:
            found.append((("classes",), f"{len(parsed.classes)} classes, but form mask tells 2 apart"))
    return list(dict.fromkeys(found))


def _model(parsed: ManifestFile, folder: Path, digest: str) -> Model:
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


def _blob(entry: BlobFile) -> Blob:
    return Blob(entry.file, entry.bytes, entry.sha256, entry.url)


def _figures(entry: FiguresFile) -> Figures:
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

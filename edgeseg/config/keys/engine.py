"""The keys ``engine`` and ``input``: what runs the network, and at which input size."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from edgeseg.config.report import Report
from edgeseg.models.model import Artefact, Model
from edgeseg.models.runtimes import ENGINE_NAMES, REMOTE, formats
from edgeseg.yamlfile import quoted, suggestion

FILE_ENGINES = (*ENGINE_NAMES, REMOTE)


def _engine(value: object) -> object:
    if value not in FILE_ENGINES:
        hint = suggestion(value, FILE_ENGINES) if isinstance(value, str) else ""
        close = hint if "did you mean" in hint else ""
        raise ValueError(f"got {quoted(value)}, expected {', '.join(FILE_ENGINES)}{close}")
    return value


EngineName = Annotated[str, BeforeValidator(_engine), WithJsonSchema({"enum": list(FILE_ENGINES)})]


def usable_artefacts(
    model: Model,
    engine: str,
    size_px: tuple[int, int] | None,
    *,
    engine_report: Report,
    input_report: Report,
) -> list[Artefact]:
    """Return the model's artefacts that the engine runs, after reporting what does not fit together.

    Args:
        model: the camera's.
        engine: the camera's.
        size_px: (width, height) of the key ``input``; None without it.
        engine_report: of the key ``engine`` that counts, the camera's or the file's.
        input_report: of the key ``input`` that counts.
    """
    usable = [artefact for artefact in model.artefacts if artefact.format in formats(engine)]
    if not usable:
        has = ", ".join(sorted({artefact.format for artefact in model.artefacts}))
        engine_report.error(
            f"{engine} runs {' and '.join(formats(engine))}, the model {model.name} has {has}"
        )
    elif size_px is not None:
        refusals = [artefact.input.refusal(size_px) for artefact in usable]
        if None not in refusals:
            input_report.error(f"got {refusals[0]} (model {model.name})")
    return usable

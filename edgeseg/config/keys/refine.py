"""The key ``refine`` of a camera: accuracy for CPU time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from edgeseg.models.model import Artefact, Model
from edgeseg.models.runtimes import REMOTE
from edgeseg.settings import REFINEMENTS, Refinement
from edgeseg.yamlfile import quoted, suggestion

_EXPECTED = f"expected {', '.join(REFINEMENTS)}, one or a list of them"


def refinements(value: object) -> tuple[Refinement, ...]:
    """Return the refinements in the order in which they are applied. Raises ValueError."""
    if value is False or (isinstance(value, str) and value.lower() in ("off", "no", "none")):
        return ()
    given = value if isinstance(value, (list, tuple)) else [value]
    if not given:
        raise ValueError(f"is empty; {_EXPECTED}, or remove it")
    for one in given:
        if one not in REFINEMENTS:
            hint = suggestion(one, REFINEMENTS) if isinstance(one, str) else ""
            raise ValueError(f"got {quoted(one)}, {_EXPECTED}{hint if 'did you mean' in hint else ''}")
    return tuple(name for name in REFINEMENTS if name in given)


def refine_error(
    refine: Collection[Refinement],
    engine: str,
    model: Model,
    usable: Sequence[Artefact],
    size_px: tuple[int, int],
) -> str | None:
    """Return why a camera cannot have these, None where it can.

    Args:
        refine: what the key has.
        engine: the camera's.
        model: the camera's.
        usable: the model's artefacts that the engine runs.
        size_px: (width, height) of the network's input.
    """
    if refine and engine == REMOTE:
        return f"needs an engine on this machine, got engine {REMOTE}"
    voting = [name for name in refine if name != "edges"]
    if voting and usable and all(artefact.output.form == "labels" for artefact in usable):
        return f"{voting[0]} weighs answers by their confidence, and the model {model.name} gives none"
    others = [score for score in model.sizes if score.size_px != size_px]
    if "sizes" in refine and not others:
        return f"sizes asks at the model's other measured sizes, and the model {model.name} lists none"
    return None


_ONE = {"enum": list(REFINEMENTS)}
Refine = Annotated[
    tuple[Refinement, ...],
    BeforeValidator(refinements),
    WithJsonSchema(
        {
            "anyOf": [
                _ONE,
                {"enum": ["off", False]},
                {"type": "array", "items": _ONE, "minItems": 1, "uniqueItems": True},
            ]
        }
    ),
]

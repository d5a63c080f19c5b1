"""The key ``health``: what makes a camera's pictures unusable."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from edgeseg.config.fields import ON_OFF_WORDS, Duration, Keys, OnOff, Share, between, duration_between
from edgeseg.settings import HealthSettings
from edgeseg.yamlfile import quoted

DEFAULT_HEALTH = HealthSettings()
# For how long nothing but repeated pictures may come.
SHORTEST_FROZEN_S, LONGEST_FROZEN_S = 10.0, 3600.0
_LEAST_TOLERANCE, _MOST_TOLERANCE = 0.005, 0.5


def _off_words(value: object) -> object:
    """Take ``off`` in place of a duration or a share."""
    if value is False or (isinstance(value, str) and value.lower() in ("off", "no")):
        return None
    return value


def _tolerance(value: float) -> float:
    between(_LEAST_TOLERANCE, _MOST_TOLERANCE)(value)
    return value


class HealthFile(Keys, title="health"):
    """What makes a camera's picture unusable: its zones are then unknown, and say why."""

    frozen: Annotated[
        Annotated[Duration, duration_between(SHORTEST_FROZEN_S, LONGEST_FROZEN_S)] | None,
        BeforeValidator(_off_words, json_schema_input_type=Duration | OnOff),
    ] = Field(
        DEFAULT_HEALTH.frozen_s,
        description="For how long only pictures that were there before may come, 10 s to 1 h, or `off`. "
        "Default: 15 s.",
    )
    dark: OnOff = Field(True, description="Nothing in the picture is brighter than a tenth of white.")
    blown_out: OnOff = Field(True, description="Most of the picture is white.")
    blurred: OnOff = Field(True, description="The fine detail that the picture usually has is gone.")
    covered: OnOff = Field(True, description="Most of what is usually seen is hidden.")
    tolerance: Annotated[
        Annotated[Share, AfterValidator(_tolerance)] | None,
        BeforeValidator(_off_words, json_schema_input_type=Share | OnOff),
    ] = Field(
        DEFAULT_HEALTH.tolerance,
        description="How far the view's corners may move, as a share of the picture's width, 0.5 to 50 %, "
        "before the camera has `moved`; or `off`. Default: 2 %.",
    )
    on_moved: Literal["suspend", "follow"] = Field(
        "suspend",
        description="`suspend`: the zones are unknown until the view is back or they are drawn anew. "
        "`follow`: they go along with the view, as long as four fifths of each stay in the picture.",
    )


def _health_keys(value: object) -> object:
    """Take ``health: off`` and ``health: on``."""
    if value is False or (isinstance(value, str) and value.lower() in ("off", "no")):
        return None
    if value is True or (isinstance(value, str) and value.lower() in ON_OFF_WORDS):
        return {}
    if not isinstance(value, (dict, HealthFile)):
        raise ValueError(f"got {quoted(value)}, expected on, off or keys such as {{frozen: 30 s}}")
    return value


Health = Annotated[
    HealthFile | None,
    BeforeValidator(_health_keys, json_schema_input_type=OnOff | HealthFile),
]


def default() -> HealthFile:
    """Return what a camera without the key has."""
    return HealthFile.model_validate({})


def health_settings(file: HealthFile | None) -> HealthSettings | None:
    """Return the checks of a camera, None for no checks."""
    if file is None:
        return None
    return HealthSettings(
        frozen_s=file.frozen,
        dark=file.dark,
        blown_out=file.blown_out,
        blurred=file.blurred,
        covered=file.covered,
        tolerance=file.tolerance,
        follow=file.on_moved == "follow",
    )

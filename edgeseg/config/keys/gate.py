"""The key ``gate``: which pictures are analysed."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from edgeseg.config.fields import ON_OFF_WORDS, Duration, Keys, OnOff, duration_between
from edgeseg.settings import GateSettings, Sensitivity
from edgeseg.yamlfile import quoted

# How long what does not move may go without analysis.
SHORTEST_REFRESH_S, LONGEST_REFRESH_S = 0.5, 3600.0
DEFAULT_GATE = GateSettings(refresh_s=5.0, sensitivity="medium", keyframes=True)


class GateFile(Keys, title="gate"):
    """Which pictures are analysed: those that show motion in or near a zone, and one every `refresh`."""

    motion: OnOff = Field(True, description="`off` is the same as `gate: off`: every picture that is due.")
    refresh: Annotated[Duration, duration_between(SHORTEST_REFRESH_S, LONGEST_REFRESH_S)] | None = Field(
        None,
        description="How long what does not move may go without analysis, 500 ms to 1 h; the longest that "
        "anything the motion check overlooks stays unnoticed. Default: 5 s.",
    )
    sensitivity: Sensitivity | None = Field(
        None,
        description="What counts as motion. `low`: 1 % of the smallest zone changes by 24 of 255 levels of "
        "luma; `medium`: 0.3 % by 12; `high`: 0.15 % by 7. Default: medium.",
    )
    keyframes: OnOff = Field(
        True,
        description="While nothing moves, decode only the stream's keyframes, where these come at least "
        "every 2 s, every `refresh` and every half `for` and `clear` of the camera's rules; motion is then "
        "noticed that much later. `off` decodes every picture.",
    )


def _gate_keys(value: object) -> object:
    """Take ``gate: off`` and ``gate: on``."""
    if isinstance(value, bool) or (isinstance(value, str) and value.lower() in ON_OFF_WORDS):
        return {"motion": value}
    if not isinstance(value, (dict, GateFile)):
        raise ValueError(f"got {quoted(value)}, expected on, off or keys such as {{refresh: 10 s}}")
    return value


Gate = Annotated[GateFile, BeforeValidator(_gate_keys, json_schema_input_type=OnOff | GateFile)]


def gate_settings(file: GateFile | None) -> GateSettings | None:
    """Return the gate of a camera, the default one without the key; None where it is off."""
    if file is None:
        return DEFAULT_GATE
    if not file.motion:
        return None
    return GateSettings(
        refresh_s=DEFAULT_GATE.refresh_s if file.refresh is None else file.refresh,
        sensitivity=file.sensitivity or DEFAULT_GATE.sensitivity,
        keyframes=file.keyframes,
    )

"""Input sizes, which are multiples of 32: then every stride of every network divides them."""

from __future__ import annotations

from edgeseg.errors import ModelError

STEP_PX = 32


def size_of(text: str) -> tuple[int, int]:
    """``736x544`` -> (736, 544). Raises ModelError unless both are multiples of 32."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()) or not int(width) or not int(height):
        raise ModelError(f"size: {text!r}, expected WIDTHxHEIGHT such as 736x544")
    if int(width) % STEP_PX or int(height) % STEP_PX:
        raise ModelError(f"size: {text}, expected multiples of {STEP_PX}")
    return int(width), int(height)

"""Illumination: a coarse class of light, to distinguish a yard at noon from the same yard under its lamp."""

from __future__ import annotations

import numpy as np

from edgeseg.events import Light
from edgeseg.frames import U8, Fit

# Every so many pixels in both directions: 3000 of an input of 736 x 544 are enough.
_EVERY_PX = 11
# Mean difference of the colours, levels of 255: what infrared light shows has none, a grey yard has some.
_COLOURLESS = 2.0
_DARK, _DIM = 40.0, 90.0
# Of red, green and blue in luma: ITU-R BT.601.
_LUMA = (0.299, 0.587, 0.114)


def classify_illumination(views: U8, fit: Fit) -> Light:
    """views: uint8 (n, h, w, 3) RGB, as ``fit`` placed them; what is padding does not count."""
    pixels = []
    for view, where in zip(views, fit.views, strict=True):
        place = where.place
        shown = view[int(place.top) : int(place.bottom), int(place.left) : int(place.right)]
        pixels.append(shown[::_EVERY_PX, ::_EVERY_PX].reshape(-1, 3))
    seen = np.concatenate(pixels).astype(np.float32)
    if float(np.ptp(seen, axis=1).mean()) < _COLOURLESS:
        return "infrared"
    level = float((seen @ np.array(_LUMA, np.float32)).mean())
    return "dark" if level < _DARK else "dim" if level < _DIM else "bright"

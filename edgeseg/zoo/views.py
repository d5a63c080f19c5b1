"""Network inputs from the user's own pictures or clip, evenly spaced over all of it."""

from __future__ import annotations

from pathlib import Path

from edgeseg.errors import ModelError
from edgeseg.frames import U8
from edgeseg.settings import FitName
from edgeseg.sources.open import open_source
from edgeseg.stages.preprocess import Preprocess


def views_of(
    path: Path, size_px: tuple[int, int], *, fit: FitName = "letterbox", count: int = 64
) -> list[U8]:
    """``count`` to ``2 * count`` views (fewer if there are fewer pictures), uint8 (h, w, 3) RGB.

    path: a clip, a picture or a folder of pictures; placed into ``size_px`` (width, height) exactly as the
    daemon places what a camera sends. Raises SourceError if it cannot be read, ModelError if it is empty.
    """
    preprocess = Preprocess(fit, size_px)
    kept: list[U8] = []
    stride = 1
    with open_source(str(path)) as source:
        for index, picture in enumerate(source):
            if index % stride:
                continue
            kept.extend(preprocess(picture)[1].copy())
            if len(kept) >= 2 * count:
                # The length of a clip is not known before its end: thin out and go on.
                kept, stride = kept[::2], 2 * stride
    if not kept:
        raise ModelError(f"{path}: no pictures in it; give a folder of pictures or a clip with some")
    return kept

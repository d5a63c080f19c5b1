"""From what the network saw to the picture that is kept: whole, without people, or labels alone."""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.drawing import overlay
from edgeseg.drawing.snapshot import Snapshot
from edgeseg.frames import U8
from edgeseg.settings import EvidencePictures

# Of the picture's height, around everybody. On CamVid's validation pictures it leaves .7 % of the people's
# area visible with deeplabv3plus-mnv2-camvid and .9 % with icnet-mnv2-camvid; half of it 1.0 and 2.0 %, none
# 6.5 and 9.2 %.
MARGIN = 0.03
_BLANK = 127
# Colours of classes must not bleed into each other.
_LABELS_QUALITY, _QUALITY = 95, 85


@dataclass(frozen=True, slots=True, eq=False)
class EvidenceRendering:
    """How one camera's pictures are kept. palette: uint8 (classes, 3) RGB. people: the indices of the classes
    that are blanked out where pictures are ``masked``."""

    pictures: EvidencePictures
    palette: U8
    people: frozenset[int]

    def __call__(self, shot: Snapshot, words: str) -> bytes:
        """A JPEG, of the network's scale in the camera's aspect ratio. words: its comment."""
        picture = overlay.picture_of(shot.frame)
        if self.pictures == "full":
            return with_comment(overlay.encode_jpeg(picture, _QUALITY), words)
        labels = overlay.labels_on_picture(shot.label_map, (picture.shape[1], picture.shape[0]))
        if self.pictures == "labels":
            return with_comment(overlay.encode_jpeg(self.palette[labels], _LABELS_QUALITY), words)
        picture[people_in(labels, self.people)] = _BLANK
        return with_comment(overlay.encode_jpeg(picture, _QUALITY), words)


def people_in(labels: U8, people: Collection[int], margin: float = MARGIN) -> npt.NDArray[np.bool_]:
    """Where people are, and around them. labels: uint8 (h, w). margin: of the height. Returns bool (h, w)."""
    table = np.zeros(256, np.uint8)
    table[list(people)] = 1
    reach_px = max(1, round(margin * labels.shape[0]))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach_px + 1,) * 2)
    return np.asarray(cv2.dilate(table[labels], disc), bool)


def with_comment(jpeg: bytes, words: str) -> bytes:
    """A JPEG that says what it is, in a comment right after the start of the image (ITU-T T.81, B.2.4.5)."""
    text = words.encode()[: 0xFFFF - 2]
    return b"".join((jpeg[:2], b"\xff\xfe", struct.pack(">H", len(text) + 2), text, jpeg[2:]))


def indices(classes: Sequence[str], people: Collection[str]) -> frozenset[int]:
    """Where the names of ``people`` stand among a model's classes."""
    return frozenset(index for index, name in enumerate(classes) if name in people)

"""Shared memory of a camera process: accepted only where it cannot harm its reader.

A process that decodes untrusted data may have been taken over. Memory that shrinks under its reader kills it
(SIGBUS), so the kernel has to guarantee that it cannot (memfd_create(2), file seals in fcntl(2)).
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import Any

import numpy as np

from edgeseg.capture.messages import SLOTS, ClipFinished, PicturePlacer, SlotLayout, views_shape
from edgeseg.capture.wire_format import WireError
from edgeseg.frames import U8, Fit

# 8K is 7680 wide; a larger size is an attempt to exhaust memory.
_LARGEST_PICTURE_PX = 16384
# A descriptor follows its message at once.
_COMES_WITHIN_S = 5.0
_WHOLE = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@dataclass(frozen=True, slots=True, eq=False)
class Slots:
    """Shared memory as one layout uses it. pictures: uint8 (SLOTS, n, h, w, 3), read only."""

    number: int
    fit: Fit
    pictures: U8


@dataclass(frozen=True, slots=True)
class AlertClip:
    """The clip of an alert. descriptor: of its bytes, which do not change; None where it came to nothing."""

    alert_id: str
    descriptor: int | None


def receive_slots(
    link: Connection[Any, Any], layout: SlotLayout, preprocesses: Iterable[PicturePlacer]
) -> Slots:
    """Receive the memory of a layout. Raises WireError and OSError.

    preprocesses: all that the process was sent; the layout must follow from one of them.
    """
    size_px = (layout.fit.picture_width_px, layout.fit.picture_height_px)
    if not 1 <= min(size_px) <= max(size_px) <= _LARGEST_PICTURE_PX:
        raise WireError("a picture of {} x {} pixels".format(*size_px))
    if all(layout.fit != preprocess.fit_for(size_px) for preprocess in preprocesses):
        raise WireError("a fit that is not this camera's")
    if not link.poll(_COMES_WITHIN_S):
        raise WireError("a layout without memory")
    shape = (SLOTS, *views_shape(layout.fit))
    descriptor = recv_handle(link)
    try:
        sealed = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
        if not sealed or os.fstat(descriptor).st_size < prod(shape):
            raise WireError("memory that could shrink under its reader")
        memory = mmap.mmap(descriptor, prod(shape), prot=mmap.PROT_READ)
    finally:
        os.close(descriptor)
    return Slots(layout.number, layout.fit, np.frombuffer(memory, np.uint8).reshape(shape))


def receive_clip(link: Connection[Any, Any], taken: ClipFinished) -> AlertClip:
    """Receive the clip that a message announces. Raises WireError and OSError."""
    if taken.size_bytes == 0:
        return AlertClip(taken.alert_id, None)
    if not link.poll(_COMES_WITHIN_S):
        raise WireError("a clip without memory")
    descriptor = recv_handle(link)
    try:
        # A descriptor that is no memory, is empty, or can still change, might block or kill its reader.
        sealed = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _WHOLE == _WHOLE
        whole = sealed and os.fstat(descriptor).st_size == taken.size_bytes
    except OSError:
        whole = False
    if not whole:
        os.close(descriptor)
        raise WireError("a clip that is not what was announced, or could change under its reader")
    return AlertClip(taken.alert_id, descriptor)

"""Notices a camera process that grows: what it should need follows from the size of its pictures.

Two guards: the daemon measures the process, and the kernel refuses memory beyond a limit. Which one acts
first depends on how fast the process grows; both say so in words.
"""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

_MIB = 1 << 20
# Python, numpy and the decoder: 40 to 70 MiB of their own, before the first picture.
_BASE_BYTES = 192 * _MIB
# GStreamer's plugins and the drivers of hardware decoders.
_ROOMY_BYTES = 1024 * _MIB
# Sixteen references, and what a decoder, the conversion and the network's input keep besides.
_PICTURES = 24
# 4:2:0 at up to 16 bits a sample.
_BYTES_PER_PX = 3
# Until the first picture says how large they are: 4K.
_UNKNOWN_SIZE_PX = (3840, 2160)
# OpenCV's code for an allocation that failed (cv::Error::StsNoMem).
_CV_NO_MEMORY = -4


def bound_bytes(picture_size_px: tuple[int, int] | None, *, roomy: bool = False) -> int:
    """The most that decoding pictures (width, height) may take. roomy: by plugins or drivers."""
    width_px, height_px = picture_size_px or _UNKNOWN_SIZE_PX
    base_bytes = _ROOMY_BYTES if roomy else _BASE_BYTES
    return base_bytes + _PICTURES * _BYTES_PER_PX * width_px * height_px


def own_bytes(pid: int) -> int | None:
    """Memory that the process has to itself, shared libraries and shared memory apart; None when it is gone.

    Source: proc_pid_statm(5), resident less shared.
    """
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (OSError, ValueError):
        return None
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def overgrown(pid: int, picture_size_px: tuple[int, int] | None, *, roomy: bool = False) -> str | None:
    """In words what is too much; None while it is not."""
    used, most = own_bytes(pid), bound_bytes(picture_size_px, roomy=roomy)
    if used is None or used <= most:
        return None
    return f"grew to {used // _MIB} MiB, {most // _MIB} are the most for its pictures"


def lacks_memory(error: BaseException) -> bool:
    """Whether an allocation failed: Python's, NumPy's and PyAV's are a MemoryError, the kernel says ENOMEM,
    OpenCV raises an error of its own."""
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or getattr(error, "code", None) == _CV_NO_MEMORY
        # C++ libraries, OpenCV among them.
        or "std::bad_alloc" in str(error)
    )


def refused(picture_size_px: tuple[int, int] | None, *, roomy: bool = False) -> str:
    """What happened to a process that was refused memory, in words. Called inside of that process."""
    most = bound_bytes(picture_size_px, roomy=roomy) // _MIB
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit == resource.RLIM_INFINITY:
        return f"was refused memory by the machine; {most} MiB are the most for its pictures"
    return f"wanted more than its limit of {limit // _MIB} MiB, {most} are the most for its pictures"

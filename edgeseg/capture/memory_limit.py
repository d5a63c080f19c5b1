"""Memory limit of a camera process, from the size of its pictures.

Two guards: the daemon measures the process, and the kernel refuses memory beyond a limit. Which one acts
first depends on how fast the process grows; both report it.
"""

from __future__ import annotations

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
# Until the first picture shows how large they are: 4K.
_UNKNOWN_SIZE_PX = (3840, 2160)


def limit_bytes(picture_size_px: tuple[int, int] | None, *, roomy: bool = False) -> int:
    """Return the memory limit for decoding pictures of (width, height). roomy: with plugins or drivers."""
    width_px, height_px = picture_size_px or _UNKNOWN_SIZE_PX
    base_bytes = _ROOMY_BYTES if roomy else _BASE_BYTES
    return base_bytes + _PICTURES * _BYTES_PER_PX * width_px * height_px


def own_bytes(pid: int) -> int | None:
    """Return the process's private memory, without shared libraries and shared memory; None when it is gone.

    Source: proc_pid_statm(5), resident less shared.
    """
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (OSError, ValueError):
        return None
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def memory_excess(pid: int, picture_size_px: tuple[int, int] | None, *, roomy: bool = False) -> str | None:
    """Describe by how much the process exceeds its limit; None while it does not."""
    used, most = own_bytes(pid), limit_bytes(picture_size_px, roomy=roomy)
    if used is None or used <= most:
        return None
    return f"grew to {used // _MIB} MiB, {most // _MIB} are the most for its pictures"


def refusal(picture_size_px: tuple[int, int] | None, *, roomy: bool = False) -> str:
    """Describe why a process was refused memory. Called inside that process."""
    most = limit_bytes(picture_size_px, roomy=roomy) // _MIB
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit == resource.RLIM_INFINITY:
        return f"was refused memory by the machine; {most} MiB are the most for its pictures"
    return f"wanted more than its limit of {limit // _MIB} MiB, {most} are the most for its pictures"

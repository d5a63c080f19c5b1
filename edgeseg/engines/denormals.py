"""Denormals: count as zero while a network runs.

Activations that decay below 1e-38 say nothing, and many processors take a hundred times as long for them as
for others. The flags belong to a thread, and a runtime's own threads inherit them from the one that creates
them. So they are set while a network is loaded and around each run, and put back afterwards for whatever else
the thread computes. The runtimes' own options do not suffice: onnxruntime's reaches its pool and the thread
that made the process's first session, OpenVINO's the thread that compiles and what that creates.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

# Where the control word lies in fenv_t, and its bits: MXCSR's flush-to-zero and denormals-are-zero behind 28
# bytes of x87 state; FPCR's FZ. Sources: bits/fenv.h of glibc and musl, which agree.
_CONTROL = {"x86_64": (28, 0x8040), "aarch64": (0, 1 << 24)}
# fenv_t takes 32 bytes on x86-64 and 8 on aarch64.
_SIZE = 64


def _library() -> ctypes.CDLL | None:
    for name in ("libm.so.6", None):
        try:
            library = ctypes.CDLL(name)
            if hasattr(library, "fegetenv") and hasattr(library, "fesetenv"):
                return library
        except OSError:
            continue
    return None


_PLACE = _CONTROL.get(platform.machine())
_MATHS = _library() if _PLACE is not None else None


@contextmanager
def as_zero() -> Iterator[None]:
    """Denormals are zero in the calling thread, and in those that it creates, until the end of the ``with``.

    Does nothing on processors other than x86-64 and 64-bit ARM.
    """
    if _MATHS is None or _PLACE is None:
        yield
        return
    before = ctypes.create_string_buffer(_SIZE)
    _MATHS.fegetenv(before)
    changed = ctypes.create_string_buffer(before.raw, _SIZE)
    offset, bits = _PLACE
    word = ctypes.c_uint32.from_buffer(changed, offset)
    word.value |= bits
    _MATHS.fesetenv(changed)
    try:
        yield
    finally:
        _MATHS.fesetenv(before)

"""Out of memory: recognises the errors of a failed allocation."""

from __future__ import annotations

import errno

# OpenCV's code for an allocation that failed (cv::Error::StsNoMem).
_CV_NO_MEMORY = -4


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an allocation failed: Python's, NumPy's and PyAV's are a MemoryError, the kernel gives
    ENOMEM, OpenCV raises an error of its own."""
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or getattr(error, "code", None) == _CV_NO_MEMORY
        # C++ libraries, OpenCV among them.
        or "std::bad_alloc" in str(error)
    )

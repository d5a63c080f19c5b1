"""Standard error: hides lines that native libraries write to it."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def without_lines(*beginnings: bytes) -> Iterator[None]:
    """Hold back what is written to standard error meanwhile; pass on lines that do not begin so."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2, inheritable=False)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            held.seek(0)
            for line in held:
                if not line.startswith(beginnings):
                    os.write(2, line)

"""Files are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeseg.errors import ModelError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; it takes ``path``'s place when the block ends well.

    Raises ModelError if it cannot be written (a full disk, say), and then leaves nothing of it behind.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        # torch reports a failed write as RuntimeError.
        raise ModelError(f"{path}: cannot be written ({error}); an earlier one is intact") from error
    finally:
        partial.unlink(missing_ok=True)

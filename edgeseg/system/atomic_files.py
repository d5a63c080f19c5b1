"""Atomic file writes: a file gets its name when it is complete, and an error is one clear line."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeseg.errors import EdgesegError

ADVICE = "name another place with --output"
INTACT = "make room or name another folder; what was there is intact"


@contextmanager
def atomic_write(path: Path, advice: str = ADVICE) -> Iterator[Path]:
    """Yield a temporary path to write to; it is renamed to ``path`` when the block ends well.

    After an error or Ctrl-C nothing is left, and a file that had the name before stays as it was. A
    device or pipe is written in place. Raises EdgesegError as ``write_errors`` does, and where ``path`` is a
    folder.
    """
    if path.is_dir():
        raise EdgesegError(f"{path}: is a folder, expected a file; {advice}")
    if path.exists() and not path.is_file():
        with write_errors(path, advice):
            yield path
        return
    with temporary_sibling(path, advice) as folder:
        partial = folder / path.name
        yield partial
        if partial.exists():
            # Else a power cut may leave the new name with nothing behind it.
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)


@contextmanager
def temporary_sibling(path: Path, advice: str = ADVICE) -> Iterator[Path]:
    """Yield a new, empty folder next to ``path``, from which files can be renamed; remove it afterwards.

    Raises EdgesegError as ``write_errors`` does.
    """
    with write_errors(path, advice):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def write_errors(place: Path, advice: str = ADVICE) -> Iterator[None]:
    """Turn an OSError of the block into an EdgesegError.

    place: what was to be written. advice: the next step, for the message.
    """
    try:
        yield
    except BrokenPipeError:
        # The reader of standard output went away: no fault, and not this file's.
        raise
    except OSError as error:
        raise EdgesegError(f"{place}: cannot be written: {error.strerror or error}; {advice}") from None

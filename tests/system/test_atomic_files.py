"""A write that fails leaves what was there, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseg.errors import EdgesegError
from edgeseg.system.atomic_files import INTACT, atomic_write


def fail_while_writing(path: Path, failure: BaseException) -> None:
    path.write_bytes(b"ne")
    raise failure


def test_a_write_replaces_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with atomic_write(path) as partial:
        partial.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [item.name for item in tmp_path.iterdir()] == ["a.bin"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    said = r"a\.bin: cannot be written: No space left on device; make room"
    with pytest.raises(EdgesegError, match=said), atomic_write(path, INTACT) as partial:
        fail_while_writing(partial, OSError(28, "No space left on device"))
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.bin"]


def test_an_interrupt_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as partial:
        fail_while_writing(partial, KeyboardInterrupt())
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "no" / "a") as partial:
        partial.write_bytes(b"new")
    assert (tmp_path / "no" / "a").read_bytes() == b"new"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(EdgesegError, match="cannot be written"),
        atomic_write(tmp_path / "file" / "a") as partial,
    ):
        partial.write_bytes(b"new")

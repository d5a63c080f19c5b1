"""A write that fails leaves what was there, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseg.errors import ModelError
from edgeseg.zoo.atomic import replacing


def fail_while_writing(path: Path, failure: BaseException) -> None:
    path.write_bytes(b"ne")
    raise failure


def test_a_write_replaces_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with replacing(path) as partial:
        partial.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [item.name for item in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), RuntimeError("write failed")])
def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, failure: Exception) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(ModelError, match=r"a\.bin: cannot be written"), replacing(path) as partial:
        fail_while_writing(partial, failure)
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.bin"]


def test_an_interrupt_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with pytest.raises(KeyboardInterrupt), replacing(path) as partial:
        fail_while_writing(partial, KeyboardInterrupt())
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be written"), replacing(tmp_path / "no" / "a") as partial:
        partial.write_bytes(b"new")

"""Training state on disk: written whole or not at all."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from edgeseg.errors import ModelError
from edgeseg.system.atomic_files import INTACT, atomic_write


def save(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` whole or not at all. Raises EdgesegError if the disk is full."""
    # By way of memory: torch's own writer reports a full disk as RuntimeError, like any other fault.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with atomic_write(path, INTACT) as partial:
        partial.write_bytes(buffer.getbuffer())


def load(path: Path) -> dict[str, Any]:
    """Raises ModelError if ``path`` is not a checkpoint that ``save`` wrote."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path}: not a readable checkpoint: {str(error).splitlines()[0]}") from error
    if not isinstance(state, dict) or "network" not in state:
        raise ModelError(f"{path}: not a checkpoint of edgeseg.zoo.train (no network weights inside)")
    return state

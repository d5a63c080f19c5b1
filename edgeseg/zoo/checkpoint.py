"""Training state on disk: written whole or not at all."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from edgeseg.errors import ModelError
from edgeseg.zoo.atomic import replacing


def save(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` atomically. Raises ModelError if the disk is full."""
    with replacing(path) as partial:
        torch.save(state, partial)


def load(path: Path) -> dict[str, Any]:
    """Raises ModelError if ``path`` is not a checkpoint that ``save`` wrote."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path}: not a readable checkpoint: {str(error).splitlines()[0]}") from error
    if not isinstance(state, dict) or "network" not in state:
        raise ModelError(f"{path}: not a checkpoint of edgeseg.zoo.train (no network weights inside)")
    return state

"""A training run's state: in memory, on disk, and as the artefact that others load."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgeseg.errors import ModelError
from edgeseg.zoo import checkpoint
from edgeseg.zoo.ema import Average
from edgeseg.zoo.metrics import Scores
from edgeseg.zoo.networks import another_architecture, build
from edgeseg.zoo.recipe import Recipe
from edgeseg.zoo.schedule import adamw


@dataclass(slots=True)
class State:
    """What changes while training. best: highest validation mIoU so far, 0-1; -1 before the first."""

    recipe: Recipe
    network: nn.Module
    average: Average
    optimizer: torch.optim.Optimizer
    step: int = 0
    trained_s: float = 0.0
    best: float = -1.0

    @classmethod
    def around(cls, recipe: Recipe, network: nn.Module) -> State:
        """A run that has not begun."""
        return cls(recipe, network, Average(network, recipe.optimizer.ema), adamw(network, recipe.optimizer))

    def load(self, path: Path) -> None:
        """Continue where ``path`` stopped. Raises ModelError if it belongs to another recipe."""
        stored = checkpoint.load(path)
        if stored["name"] != self.recipe.network or stored["classes"] != list(self.recipe.classes):
            raise ModelError(
                f"{path}: a checkpoint of {stored['name']}, {len(stored['classes'])} classes, but the recipe"
                f" is {self.recipe.network}, {len(self.recipe.classes)}; choose another --out"
            )
        try:
            self.network.load_state_dict(stored["network"])
            self.average.network.load_state_dict(stored["average"])
            self.optimizer.load_state_dict(stored["optimizer"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise ModelError(f"{path}: does not fit this version's network; choose another --out") from error
        self.step, self.trained_s, self.best = stored["step"], stored["trained_s"], stored["best"]

    def save(self, path: Path) -> None:
        """Everything needed to resume, atomically."""
        state = self._described(self.network, None) | {
            "average": self.average.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "trained_s": self.trained_s,
            "best": self.best,
        }
        checkpoint.save(path, state)

    def save_average(self, path: Path, scores: Scores) -> None:
        """The averaged weights with their validation scores, atomically."""
        checkpoint.save(path, self._described(self.average.network, scores))

    def _described(self, network: nn.Module, scores: Scores | None) -> dict[str, Any]:
        return {
            "network": network.state_dict(),
            "name": self.recipe.network,
            "classes": list(self.recipe.classes),
            "recipe": asdict(self.recipe),
            "step": self.step,
            "val_miou": None if scores is None else scores.mean_iou,
            "val_iou": None if scores is None else [float(value) for value in scores.iou],
        }


def load_network(path: Path) -> tuple[nn.Module, tuple[str, ...]]:
    """The network of ``best.pt`` or ``last.pt``, in evaluation mode, and its class names.

    Raises ModelError if ``path`` is not one of ours or its weights do not fit.
    """
    stored = checkpoint.load(path)
    network = build(stored["name"], len(stored["classes"]))
    try:
        network.load_state_dict(stored["network"])
    except RuntimeError as error:
        raise ModelError(f"{path}: its weights do not fit this version's {stored['name']}") from error
    return network.eval(), tuple(stored["classes"])


def start_from(network: nn.Module, path: Path) -> list[str]:
    """Fill ``network`` with the weights of a checkpoint, for fine-tuning on other classes.

    Layers whose size depends on the number of classes keep their fresh weights; their names are returned.
    Raises ModelError if the checkpoint is of another architecture.
    """
    loaded = checkpoint.load(path)
    stored = loaded["network"]
    own = network.state_dict()
    if own.keys() != stored.keys():
        raise another_architecture(path, loaded.get("name"), network)
    fresh = [name for name, value in own.items() if value.shape != stored[name].shape]
    network.load_state_dict(
        {name: value for name, value in stored.items() if name not in fresh}, strict=False
    )
    return fresh

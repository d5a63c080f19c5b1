"""Train a network of the zoo: ``python -m edgeseg.zoo.train RECIPE --data DIR --out DIR``.

Run again with the same arguments to resume. ``out`` receives ``last.pt`` (everything needed to resume),
``best.pt`` (the averaged weights of the best validation) and ``curves.csv``.

On a CPU under glibc, ``MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8000000000`` in the environment saves a
quarter of every step: the buffers of activations are then not returned to the kernel and faulted in again.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from edgeseg.clock import Clock, SystemClock
from edgeseg.errors import EdgesegError, ModelError
from edgeseg.zoo import checkpoint
from edgeseg.zoo.augment import Crops
from edgeseg.zoo.data import Split, find_split, index_classes, to_input
from edgeseg.zoo.ema import Average
from edgeseg.zoo.losses import class_weights, total_loss
from edgeseg.zoo.metrics import Scores
from edgeseg.zoo.networks import build
from edgeseg.zoo.networks.folded import load_folded
from edgeseg.zoo.networks.mobilenet_v2 import MobileNetV2
from edgeseg.zoo.recipe import Recipe, load_recipe
from edgeseg.zoo.schedule import Budget, adamw, set_rates
from edgeseg.zoo.validate import validate

SAVE_EVERY_STEPS = 100
MEASURED_PICTURES = 32
CURVES = ("step", "trained_s", "loss", "val_miou", "val_accuracy")


class Training:
    """One run. Nothing is read or written before ``run``."""

    def __init__(
        self,
        recipe: Recipe,
        split: Split,
        out: Path,
        budget: Budget,
        weights: Path | None = None,
        *,
        device: str = "cpu",
        bf16: bool = True,
        clock: Clock | None = None,
    ) -> None:
        self._recipe = recipe
        self._split = split
        self._out = out
        self._budget = budget
        self._weights = weights
        self._device = torch.device(device)
        self._bf16 = bf16
        self._clock = clock or SystemClock()

    def run(self) -> float:
        """Train to the end of the budget and return the best validation mIoU, 0-1.

        Raises ModelError for unreadable data or a checkpoint that does not fit.
        """
        recipe = self._recipe
        torch.manual_seed(recipe.seed)
        torch.set_flush_denormal(True)
        classes = len(recipe.classes)
        index = index_classes(self._split.train, classes)
        index_classes(self._split.val, classes)
        crops = Crops(self._split.train, index, classes, recipe.augmentation)
        weights = class_weights(index.frequencies(), recipe.loss.weight_power).to(self._device)
        network = build(recipe.network, classes)
        self._out.mkdir(parents=True, exist_ok=True)
        last = self._out / "last.pt"
        if not last.exists() and recipe.initial is not None:
            load_folded(_trunk(network), self._initial(), self._measured_pictures(crops))
        network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = adamw(network, recipe.optimizer)
        average = Average(network, recipe.optimizer.ema)
        step, trained_s, best = 0, 0.0, -1.0
        if last.exists():
            step, trained_s, best = _resume(checkpoint.load(last), last, recipe, network, optimizer, average)
            print(f"resumed at step {step}, best mIoU {best:.4f}", file=sys.stderr, flush=True)
        recent: list[float] = []
        started_s = self._clock.monotonic_s() - trained_s
        while (progress := self._budget.progress(step, trained_s)) < 1.0:
            set_rates(optimizer, recipe.optimizer, step, progress)
            recent.append(self._step(network, optimizer, crops, weights, step))
            step += 1
            average.follow(network, step)
            trained_s = self._clock.monotonic_s() - started_s
            ended = self._budget.progress(step, trained_s) >= 1.0
            if step % recipe.validate_every == 0 or ended:
                scores = self._validate(average.network)
                trained_s = self._clock.monotonic_s() - started_s
                self._record(step, trained_s, progress, float(np.mean(recent)), scores)
                recent.clear()
                if scores.mean_iou > best:
                    best = scores.mean_iou
                    checkpoint.save(self._out / "best.pt", self._artefact(average.network, step, scores))
            elif step % 25 == 0:
                mean = np.mean(recent[-25:])
                print(f"step {step} ({progress:.1%}) loss {mean:.4f}", file=sys.stderr, flush=True)
            if step % SAVE_EVERY_STEPS == 0 or ended:
                state = self._artefact(network, step, None)
                state |= {
                    "average": average.network.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "trained_s": trained_s,
                    "best": best,
                }
                checkpoint.save(last, state)
        return best

    def _initial(self) -> Path:
        if self._weights is None:
            raise ModelError(f"recipe: initial is {self._recipe.initial}; name its folder with --weights DIR")
        return self._weights / str(self._recipe.initial)

    def _measured_pictures(self, crops: Crops) -> torch.Tensor:
        random = np.random.default_rng((self._recipe.seed, 0))
        drawn = random.integers(len(self._split.train), size=MEASURED_PICTURES)
        return _tensor(np.stack([crops.draw(int(sample), random)[0] for sample in drawn]))

    def _step(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        crops: Crops,
        weights: torch.Tensor,
        step: int,
    ) -> float:
        recipe = self._recipe
        # Seeded by the step, so that a resumed run draws what an uninterrupted one would have drawn.
        torch.manual_seed(recipe.seed * 1_000_003 + step)
        random = np.random.default_rng((recipe.seed, 1, step))
        drawn = [crops.draw(sample, random) for sample in self._batch(step)]
        x = _tensor(np.stack([picture for picture, _ in drawn])).to(self._device)
        labels = torch.from_numpy(np.stack([labels for _, labels in drawn]).astype(np.int64)).to(self._device)
        network.train()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            output = network(x)
        loss = total_loss(output, labels, weights, recipe.loss)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        return float(loss.detach())

    def _batch(self, step: int) -> list[int]:
        """Sample numbers of one step: every epoch is a fresh permutation, and batches run across epochs."""
        count, batch = len(self._split.train), self._recipe.batch
        chosen = []
        for position in range(step * batch, (step + 1) * batch):
            epoch, place = divmod(position, count)
            chosen.append(int(np.random.default_rng((self._recipe.seed, 2, epoch)).permutation(count)[place]))
        return chosen

    def _validate(self, network: nn.Module) -> Scores:
        recipe = self._recipe
        return validate(
            network, self._split.val, len(recipe.classes), scale=recipe.validate_scale, bf16=self._bf16
        )

    def _record(self, step: int, trained_s: float, progress: float, loss: float, scores: Scores) -> None:
        path = self._out / "curves.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow([*CURVES, *self._recipe.classes])
            scored = [scores.mean_iou, scores.pixel_accuracy, *scores.iou]
            writer.writerow([step, f"{trained_s:.0f}", f"{loss:.4f}", *(f"{value:.4f}" for value in scored)])
        print(
            f"step {step} ({progress:.1%}, {trained_s / 60:.1f} min) loss {loss:.4f}"
            f" validation mIoU {scores.mean_iou:.4f}",
            file=sys.stderr,
            flush=True,
        )

    def _artefact(self, network: nn.Module, step: int, scores: Scores | None) -> dict[str, Any]:
        return {
            "network": network.state_dict(),
            "name": self._recipe.network,
            "classes": list(self._recipe.classes),
            "recipe": asdict(self._recipe),
            "step": step,
            "val_miou": None if scores is None else scores.mean_iou,
            "val_iou": None if scores is None else [float(value) for value in scores.iou],
        }


def _trunk(network: nn.Module) -> MobileNetV2:
    trunk = getattr(network, "trunk", None)
    if not isinstance(trunk, MobileNetV2):
        raise ModelError("recipe: initial fills a MobileNetV2 trunk, and this network has none; leave it out")
    return trunk


def _tensor(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(to_input(pictures)).permute(0, 3, 1, 2)


def _resume(
    state: dict[str, Any],
    path: Path,
    recipe: Recipe,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Average,
) -> tuple[int, float, float]:
    if state["name"] != recipe.network or state["classes"] != list(recipe.classes):
        raise ModelError(
            f"{path}: a checkpoint of {state['name']} with {len(state['classes'])} classes, but the recipe is"
            f" {recipe.network} with {len(recipe.classes)}; choose another --out"
        )
    network.load_state_dict(state["network"])
    average.network.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["trained_s"], state["best"]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m edgeseg.zoo.train", description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="CamVid, or a folder of images/ and labels/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="folder of the recipe's initial weights")
    parser.add_argument("--minutes", type=float, help="end after this much training instead of the steps")
    parser.add_argument("--leave-out", metavar="PREFIX", help="validate on these training pictures alone")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--fp32", action="store_true", help="no bf16, for processors without it")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    try:
        recipe = load_recipe(options.recipe)
        split = find_split(options.data, leave_out=options.leave_out)
        training = Training(
            recipe,
            split,
            options.out,
            Budget(recipe.steps, options.minutes),
            options.weights,
            device=options.device,
            bf16=not options.fp32,
        )
        best = training.run()
    except EdgesegError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"best validation mIoU {best:.4f} ({options.out / 'best.pt'})")
    return 0


if __name__ == "__main__":
    sys.exit(main())

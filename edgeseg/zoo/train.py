"""Train a network of the zoo: ``edgeseg models train RECIPE --data DIR --out DIR``, or this module by itself
(``python -m edgeseg.zoo.train``, the same arguments).

Run again with the same arguments to resume; an interrupt finishes the step and saves. ``out`` receives
``last.pt`` (everything needed to resume), ``best.pt`` (the averaged weights of the best validation),
``curves.csv`` and ``curves.png``.

On a CPU under glibc, ``MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8000000000`` in the environment saves a
quarter of every step: the buffers of activations are then not returned to the kernel and faulted in again.
"""

from __future__ import annotations

import argparse
import csv
import io
import runpy
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgeseg.clock import Clock, SystemClock
from edgeseg.errors import ModelError
from edgeseg.models import registry
from edgeseg.system.atomic_files import INTACT, atomic_write, write_errors
from edgeseg.zoo.augment import Crops
from edgeseg.zoo.batches import Batch, Batches, as_input
from edgeseg.zoo.data import Sample, Split, find_split, index_classes, read_picture
from edgeseg.zoo.graph_weights import fill_from_graph, network_of_graph
from edgeseg.zoo.losses import class_weights, distillation, imitation, on_grid, total_loss
from edgeseg.zoo.metrics import Scores
from edgeseg.zoo.networks import build
from edgeseg.zoo.networks.deeplabv3plus_pooled import DeepLabV3PlusPooled, start_from_pascal
from edgeseg.zoo.networks.folded import load_folded
from edgeseg.zoo.networks.mobilenet_v2 import MobileNetV2
from edgeseg.zoo.plot import plot_curves
from edgeseg.zoo.recipe import Recipe, find_recipe, load_recipe
from edgeseg.zoo.scene_crops import SceneCrops
from edgeseg.zoo.scenes import PASCAL_ROWS, find_scenes
from edgeseg.zoo.scenes_score import validate_objects
from edgeseg.zoo.schedule import Budget, set_rates
from edgeseg.zoo.state import State, load_network, start_from
from edgeseg.zoo.validate import validate

SAVE_EVERY_STEPS = 100
REPORT_EVERY_STEPS = 25
MEASURED_PICTURES = 32
CURVES = ("step", "trained_s", "loss", "val_miou", "val_accuracy")


def to_stderr(line: str) -> None:
    """The default report."""
    print(line, file=sys.stderr, flush=True)


class Training:
    """One run. Nothing is read or written before ``run``.

    weights: folder of the recipe's ``initial``. start: what to fine-tune from instead, a checkpoint or the
    float ONNX file of one of our networks.
    teacher: its answers are distilled if the recipe says so. scenes: the samples have soft targets, and
    validation scores the objects of the classes for cameras. workers: threads that draw crops ahead.
    """

    def __init__(
        self,
        recipe: Recipe,
        split: Split,
        out: Path,
        budget: Budget,
        *,
        weights: Path | None = None,
        start: Path | None = None,
        teacher: nn.Module | None = None,
        scenes: bool = False,
        device: str = "cpu",
        bf16: bool = True,
        workers: int = 0,
        report: Callable[[str], None] = to_stderr,
        clock: Clock | None = None,
    ) -> None:
        self._recipe = recipe
        self._split = split
        self._out = out
        self._budget = budget
        self._weights = weights
        self._start = start
        self._teacher = teacher
        self._scenes = scenes
        self._device = torch.device(device)
        self._bf16 = bf16
        self._workers = workers
        self._report = report
        self._clock = clock or SystemClock()

    def run(self, stop: threading.Event) -> float:
        """Train to the end of the budget, or until ``stop``. Returns the best validation mIoU, 0-1; -1 before
        the first.

        Raises ModelError for unreadable data or a checkpoint that does not fit, before anything is written;
        EdgesegError where ``out`` cannot be written.
        """
        recipe, classes = self._recipe, len(self._recipe.classes)
        torch.set_flush_denormal(True)
        index = index_classes(self._split.train, classes)
        index_classes(self._split.val, classes)
        kind = SceneCrops if self._scenes else Crops
        crops = kind(self._split.train, index, classes, recipe.augmentation)
        shares = _shares(recipe, self._split.train)
        batches = Batches(crops, len(self._split.train), recipe.batch, recipe.seed, shares)
        weights = class_weights(index.frequencies(), recipe.loss.weight_power).to(self._device)
        state = self._begin(batches)
        with write_errors(self._out, INTACT):
            self._out.mkdir(parents=True, exist_ok=True)
        recent: list[float] = []
        started_s = self._clock.monotonic_s() - state.trained_s
        with closing(batches.following(state.step, self._workers)) as following:
            while not stop.is_set() and (progress := self._progress(state)) < 1.0:
                set_rates(state.optimizer, recipe.optimizer, state.step, progress)
                recent.append(self._step(state, next(following), weights))
                state.step += 1
                state.average.follow(state.network, state.step)
                state.trained_s = self._clock.monotonic_s() - started_s
                ended = self._progress(state) >= 1.0
                if state.step % REPORT_EVERY_STEPS == 0:
                    self._report(f"step {state.step} ({progress:.1%}) loss {np.mean(recent[-25:]):.4f}")
                if state.step % recipe.validate_every == 0 or ended:
                    self._judge(state, float(np.mean(recent)))
                    state.trained_s = self._clock.monotonic_s() - started_s
                    recent.clear()
                if state.step % SAVE_EVERY_STEPS == 0 or ended or stop.is_set():
                    state.save(self._out / "last.pt")
        return state.best

    def _progress(self, state: State) -> float:
        return self._budget.progress(state.step, state.trained_s)

    def _begin(self, batches: Batches) -> State:
        torch.manual_seed(self._recipe.seed)
        network = build(self._recipe.network, len(self._recipe.classes))
        last = self._out / "last.pt"
        if not last.exists() and self._start is not None:
            if self._start.suffix == ".onnx":
                fresh = fill_from_graph(network, self._start, batches.measured(MEASURED_PICTURES))
            else:
                fresh = start_from(network, self._start)
            self._report(f"from {self._start}, fresh: {', '.join(fresh) or 'nothing'}")
        elif not last.exists() and self._recipe.initial is not None:
            if self._weights is None:
                raise ModelError(
                    f"recipe: initial is {self._recipe.initial}; name its folder with --weights DIR, or a "
                    "model to fine-tune with --start"
                )
            initial = self._weights / self._recipe.initial
            if isinstance(network, DeepLabV3PlusPooled):
                start_from_pascal(network, initial, PASCAL_ROWS)
            else:
                load_folded(_trunk(network), initial, batches.measured(MEASURED_PICTURES))
        network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        state = State.around(self._recipe, network)
        if last.exists():
            state.load(last)
            self._report(f"resumed at step {state.step}, best mIoU {state.best:.4f}")
        return state

    def _step(self, state: State, batch: Batch, weights: torch.Tensor) -> float:
        recipe = self._recipe
        # Dropout is seeded by the step, as the crops are.
        torch.manual_seed(recipe.seed * 1_000_003 + state.step)
        x, labels = batch.pictures.to(self._device), batch.labels.to(self._device)
        state.network.train()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            output = state.network(x)
        if batch.soft is not None:
            loss = on_grid(output, labels, batch.soft.to(self._device), weights, recipe.loss)
        else:
            loss = total_loss(output, labels, weights, recipe.loss)
        if self._teacher is not None:
            with torch.no_grad(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
                taught = self._teacher(x)
            loss = loss + recipe.loss.distill * distillation(output.main, taught.main)
            if recipe.loss.imitate:
                loss = loss + recipe.loss.imitate * imitation(output.hints, taught.hints)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(state.network.parameters(), recipe.optimizer.clip)
        if not bool(torch.isfinite(norm)):
            last = self._out / "last.pt"
            raise ModelError(
                f"step {state.step}: the gradient is not finite; go on from {last} at a lower rate or --fp32"
            )
        state.optimizer.step()
        return float(loss.detach())

    def _judge(self, state: State, loss: float) -> None:
        """Validate the average; keep it if it is the best so far."""
        recipe = self._recipe
        if self._scenes:
            scores = validate_objects(state.average.network, self._split.val, bf16=self._bf16)
        else:
            scores = validate(
                state.average.network,
                self._split.val,
                len(recipe.classes),
                scale=recipe.validate_scale,
                bf16=self._bf16,
            )
        self._record(state, loss, scores)
        if recipe.keep_every and state.step % (recipe.keep_every * recipe.validate_every) == 0:
            state.save_average(self._out / f"average-{state.step:06d}.pt", scores)
        if scores.mean_iou > state.best:
            state.best = scores.mean_iou
            state.save_average(self._out / "best.pt", scores)

    def _record(self, state: State, loss: float, scores: Scores) -> None:
        path = self._out / "curves.csv"
        scored = [loss, scores.mean_iou, scores.pixel_accuracy, *scores.iou]
        row = [str(state.step), f"{state.trained_s:.0f}", *(f"{value:.4f}" for value in scored)]
        text = io.StringIO()
        # Steps that a resumed run does again count once.
        rows = [old for old in _rows(path) if int(old[0]) < state.step]
        csv.writer(text, lineterminator="\n").writerows([[*CURVES, *self._recipe.classes], *rows, row])
        with atomic_write(path, INTACT) as partial:
            partial.write_text(text.getvalue())
        plot_curves(path, self._out / "curves.png")
        minutes = state.trained_s / 60
        self._report(f"step {state.step} ({minutes:.1f} min) validation mIoU {scores.mean_iou:.4f}")


def _rows(curves: Path) -> list[list[str]]:
    """What an earlier part of the run recorded, without the heading. Raises ModelError."""
    if not curves.exists():
        return []
    try:
        rows = list(csv.reader(curves.read_text().splitlines()))[1:]
        if all(row and row[0].isdecimal() for row in rows):
            return rows
    except (OSError, ValueError, csv.Error):
        pass
    raise ModelError(f"{curves}: not the curves of a training run; choose another --out")


def _shares(recipe: Recipe, samples: Sequence[Sample]) -> npt.NDArray[np.float64] | None:
    """How often each sample is drawn; None where all are drawn alike."""
    if not recipe.shares:
        return None
    weights = np.array([_share(recipe.shares, sample.picture) for sample in samples])
    return np.asarray(weights / weights.sum())


def _share(shares: Mapping[str, float], picture: Path) -> float:
    # DATA/labelled/images/NAME.jpg: a key may begin with the part.
    names = (f"{picture.parent.parent.name}/{picture.name}", picture.name)
    return next(
        (share for start, share in shares.items() if any(name.startswith(start) for name in names)), 1.0
    )


def _trunk(network: nn.Module) -> MobileNetV2:
    trunk = getattr(network, "trunk", None)
    if not isinstance(trunk, MobileNetV2):
        raise ModelError("recipe: initial fills a MobileNetV2 trunk, and this network has none; leave it out")
    return trunk


def train(options: argparse.Namespace) -> float:
    """One run as ``edgeseg models train`` describes it. Returns the best validation mIoU, 0-1; -1 before the
    first.

    Raises EdgesegError for what the user has to mend.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    recipe = load_recipe(find_recipe(options.recipe))
    if options.agreed is not None:
        split = find_scenes(options.data, options.agreed, permissive=options.permissive)
    else:
        split = find_split(options.data, leave_out=options.leave_out, unlabelled=options.unlabelled)
    training = Training(
        recipe,
        split,
        options.out,
        Budget(options.steps or recipe.steps, options.minutes),
        weights=options.weights,
        start=None if options.start is None else _weights_of("--start", options.start),
        teacher=_teacher(options.teacher, recipe, split, options.device),
        scenes=options.agreed is not None,
        device=options.device,
        bf16=not options.fp32,
        workers=options.workers,
    )
    return training.run(stop)


def _weights_of(option: str, name: str) -> Path:
    """A checkpoint file, or the float ONNX file of the model called so. Raises ModelError."""
    path = Path(name)
    if path.suffix in (".pt", ".onnx") or path.is_file():
        return path
    model = registry.find(name)
    for artefact in model.artefacts:
        if (artefact.format, artefact.precision) == ("onnx", "float"):
            return registry.artefact_path(model, artefact)
    raise ModelError(f"{option} {name}: this model has no float ONNX artefact; name a checkpoint (best.pt)")


def _teacher(name: str | None, recipe: Recipe, split: Split, device: str) -> nn.Module | None:
    if name is None:
        if recipe.loss.distill or recipe.loss.imitate:
            raise ModelError(
                "recipe: it has a loss against a teacher; name a model or a best.pt with --teacher"
            )
        return None
    path = _weights_of("--teacher", name)
    if path.suffix == ".onnx":
        classes = registry.find(name).classes
        seen = [read_picture(sample.picture) for sample in split.train[:MEASURED_PICTURES]]
        resized = as_input([cv2.resize(picture, recipe.augmentation.crop_px) for picture in seen])
        network = network_of_graph(path, len(classes), resized)
    else:
        network, classes = load_network(path)
    if classes != recipe.classes:
        raise ModelError(f"--teacher {name}: its classes are {', '.join(classes)}, not the recipe's")
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]


if __name__ == "__main__":
    # The same as `edgeseg models train`; the command line imports the zoo, never the other way round.
    sys.argv[1:1] = ["models", "train"]
    runpy.run_module("edgeseg", run_name="__main__")

"""Adapt a network to one camera with 31 labelled frames: ``python -m edgeseg.zoo.fine_tune_demo``.

The camera is CDnet 2014's highway (EDGESEG_TEST_DATA). Frames 470 to 770 and their labels become a folder as
`edgeseg models train` takes it, the network that travels with edgeseg is fine-tuned on it, and both are held
against the truth on frames 960 to 1080: at 940 the last vehicle of 770 leaves the picture.

CDnet labels what moves: 255 becomes vehicle, static ground (0) and shadow (50) become other, and what it
leaves open (85 outside the region of interest, 170 along outlines) is void.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.drawing import overlay
from edgeseg.engines import open_engine
from edgeseg.errors import EdgesegError, ModelError
from edgeseg.frames import U8, FrameTime, Picture
from edgeseg.models import registry
from edgeseg.stages import postprocess
from edgeseg.stages.preprocess import Preprocess
from edgeseg.system.atomic_files import INTACT, write_errors
from edgeseg.zoo.data import VOID, read_picture
from edgeseg.zoo.metrics import Confusion

START = "deeplabv3plus-mnv2-camvid"
TRAIN, JUDGE = range(470, 771, 10), range(960, 1081, 10)
INPUT_PX = (640, 480)
ROAD_PX = ((150, 70), (0, 190), (0, 240), (258, 240), (270, 70))
VEHICLE = 1


@dataclass(frozen=True, slots=True)
class Score:
    """Of vehicles on frames never trained on. All 0-1 but correlation, -1 to 1.

    iou: one confusion over all frames. coverage_error: mean absolute error of their share of the road.
    """

    iou: float
    recall: float
    precision: float
    coverage_error: float
    correlation: float


def write_labelled(highway: Path, folder: Path) -> None:
    """``images/`` and ``labels/`` of TRAIN. Raises ModelError, EdgesegError."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number in TRAIN:
        shutil.copyfile(highway / "input" / f"in{number:06d}.jpg", folder / "images" / f"{number}.jpg")
        cv2.imwrite(str(folder / "labels" / f"{number}.png"), truth_of(highway, number))


def truth_of(highway: Path, number: int) -> U8:
    """uint8 (h, w): 0 other, 1 vehicle, VOID. Raises ModelError."""
    stored = read_picture(highway / "groundtruth" / f"gt{number:06d}.png")[..., 0]
    known = {0: 0, 50: 0, VOID: VEHICLE}
    labels = np.full(stored.shape, VOID, np.uint8)
    for value, label in known.items():
        labels[stored == value] = label
    return labels


def judge(highway: Path, name: str, vehicles: tuple[str, ...]) -> Score:
    """The model called ``name`` on JUDGE, through the daemon's own stages. Raises EdgesegError."""
    model = registry.find(name)
    wanted = [model.classes.index(one) for one in vehicles]
    engine = open_engine(model, "onnxruntime", INPUT_PX, precision="float")
    preprocess = Preprocess("letterbox", INPUT_PX)
    confusion, shares = Confusion(2), []
    try:
        for number, picture in _pictures(highway):
            placed, views = preprocess(picture)
            label_map = postprocess.label_map(engine.run(views), placed, model)
            truth = truth_of(highway, number)
            found = overlay.labels_on_picture(label_map, (truth.shape[1], truth.shape[0]))
            vehicle = np.isin(found, wanted).astype(np.uint8)
            confusion.add(vehicle, truth)
            shares.append(_shares(vehicle, truth))
    finally:
        engine.close()
    counts = confusion.counts
    right = counts[VEHICLE, VEHICLE]
    measured, true = np.array(shares).T
    return Score(
        iou=float(confusion.scores().iou[VEHICLE]),
        recall=float(right / max(counts[VEHICLE].sum(), 1)),
        precision=float(right / max(counts[:, VEHICLE].sum(), 1)),
        coverage_error=float(np.abs(measured - true).mean()),
        correlation=float(np.corrcoef(measured, true)[0, 1]),
    )


def _pictures(highway: Path) -> Iterator[tuple[int, Picture]]:
    for number in JUDGE:
        rgb = read_picture(highway / "input" / f"in{number:06d}.jpg")
        yield number, Picture((rgb,), "rgb", True, "bt601", FrameTime(float(number), float(number)))


def _shares(vehicle: U8, truth: U8) -> tuple[float, float]:
    """Found and true share of the road's pixels that are not void."""
    road: npt.NDArray[np.uint8] = np.zeros(truth.shape, np.uint8)
    cv2.fillPoly(road, [np.array(ROAD_PX, np.int32)], (1,))
    counted = (road == 1) & (truth != VOID)
    return float(vehicle[counted].mean()), float(truth[counted].mean())


def run(data: Path, out: Path, threads: int) -> dict[str, Score]:
    """Write, train, import, judge. Returns scores before and after. Raises EdgesegError."""
    highway = data / "cdnet_highway"
    if not highway.is_dir():
        raise ModelError(f"{highway}: not there; name the folder that holds it in EDGESEG_TEST_DATA")
    with write_errors(out, INTACT):
        shutil.rmtree(out, ignore_errors=True)
        write_labelled(highway, out / "labelled")
    steps = (
        ("train", "fine-tune", "--start", START, "--data", str(out / "labelled"), "--out", str(out / "run")),
        ("import", str(out / "run" / "best.pt"), "--name", "highway", "--size", "x".join(map(str, INPUT_PX))),
    )
    for step, more in zip(steps, (("--threads", str(threads)), ("--into", str(out / "models"))), strict=True):
        print("$ edgeseg models", *step, *more, flush=True)
        if subprocess.run([sys.executable, "-m", "edgeseg", "models", *step, *more]).returncode:
            raise ModelError(f"edgeseg models {step[0]} failed")
    return {
        "before": judge(highway, START, ("car",)),
        "after": judge(highway, str(out / "models" / "highway"), ("vehicle",)),
    }


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m edgeseg.zoo.fine_tune_demo", description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("EDGESEG_TEST_DATA", "../shared/data"))
    )
    parser.add_argument("--out", type=Path, default=Path("out/fine-tune"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    try:
        scores = run(options.data, options.out, options.threads)
    except EdgesegError as error:
        print(f"edgeseg: {error}", file=sys.stderr)
        return 2
    (options.out / "scores.json").write_text(json.dumps({k: asdict(v) for k, v in scores.items()}, indent=2))
    for when, score in scores.items():
        print(f"{when:6} IoU {score.iou:.3f}, recall {score.recall:.3f}, precision {score.precision:.3f}")
        print(f"        road: error {score.coverage_error:.4f}, correlation {score.correlation:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

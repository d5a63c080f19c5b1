"""The label maps of every network that ships, computed on two processors and compared.

``python -m tests.arm64.labels write FOLDER`` computes them here, with every engine, and keeps them.
``python -m tests.arm64.labels compare FOLDER`` computes them on the other processor, prints how many cells
have the same label, and ends with exit code 1 where fewer do than rounding explains.

Three pictures: the two drawn ones that golden label maps exist of, and a photograph of the data folder in the
decoder's planes, as the daemon resizes them: there OpenCV itself rounds differently on other processors
(decision 34).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edgeseg.engines.base import Engine
from edgeseg.frames import FrameTime, Picture
from edgeseg.models.model import Model
from edgeseg.models.runtimes import ENGINES
from edgeseg.stages import postprocess
from edgeseg.stages.preprocess import Preprocess
from edgeseg.zoo.data import read_picture
from tests.conftest import test_data
from tests.models.test_golden_maps import CASES, LEAST_AGREEMENT
from tests.support.drawn_scenes import SCENES, U8
from tests.support.golden_maps import UNSURE, Shipped, answer

PHOTO = "photo"


def write(folder: Path) -> None:
    """Keep the label maps of this processor as ``<network's file>-<engine>-<picture>.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    _keep_planes(folder)
    for one, engine in _installed():
        for picture, labels in _labels(one, engine, folder).items():
            cv2.imwrite(str(_file(folder, one, engine, picture)), labels)


def compare(folder: Path) -> int:
    """Print the share of cells that have the same label as a golden map, and as the maps kept. Returns the
    exit code."""
    agreements: dict[str, list[float]] = {}
    pictures = (*SCENES, *([PHOTO] if _planes_file(folder).exists() else []))
    print(f"{'':48}  golden  {''.join(f'{name:>8}' for name in pictures)}")
    for one, engine in _installed():
        started_s = time.monotonic()
        found = _labels(one, engine, folder)
        took_s = time.monotonic() - started_s
        golden = min(_golden_agreement(one, scene, found[scene]) for scene in SCENES)
        kept = {
            picture: _kept_agreement(_file(folder, one, engine, picture), found[picture])
            for picture in pictures
        }
        shown = "".join(f"  {agreement:.4f}" for agreement in (golden, *kept.values()))
        print(f"{f'{one} {engine}':48}{shown}  ({took_s:.0f} s)", flush=True)
        agreements.setdefault(engine, []).extend((golden, *kept.values()))
    for engine, figures in agreements.items():
        print(f"label agreement, {engine}: {min(figures):.4f} or more")
    return int(min(map(min, agreements.values())) < LEAST_AGREEMENT)


def _installed() -> Iterator[tuple[Shipped, str]]:
    """Each file of weights that ships, with each engine here that computes it as it is written."""
    for one, engine in CASES:
        if ENGINES[engine].installed:
            yield one, engine
        else:
            print(f"{one} {engine}: not installed ({ENGINES[engine].install})")


def _labels(one: Shipped, engine: str, folder: Path) -> dict[str, U8]:
    """Of each picture uint8 (h, w), class index."""
    loaded = one.opened(engine)
    found = {scene: answer(loaded, one.model, draw()).labels[0] for scene, draw in SCENES.items()}
    if _planes_file(folder).exists():
        found[PHOTO] = _of_planes(loaded, one.model, folder)
    loaded.close()
    return found


def _of_planes(engine: Engine, model: Model, folder: Path) -> U8:
    with np.load(_planes_file(folder)) as kept:
        planes = tuple(kept[name] for name in "yuv")
    fit, views = Preprocess(model.fit, engine.input_size_px)(
        Picture(planes, "i420", False, "bt601", FrameTime(0.0, 0.0))
    )
    labels: U8 = postprocess.label_map(engine.run(views), fit, model).labels[0]
    return labels


def _keep_planes(folder: Path) -> None:
    """Of the data folder's first street, made on one processor for both."""
    _planes_file(folder).unlink(missing_ok=True)
    photos = sorted((test_data() / "camvid" / "val").glob("*.jpg"))
    if photos:
        rgb = read_picture(photos[0])
        height, width = rgb.shape[0] // 4 * 4, rgb.shape[1] // 2 * 2
        stacked = cv2.cvtColor(rgb[:height, :width], cv2.COLOR_RGB2YUV_I420)
        y, u, v = np.split(stacked, [height, height + height // 4])
        half = (height // 2, width // 2)
        np.savez(_planes_file(folder), y=y, u=u.reshape(half), v=v.reshape(half))


def _planes_file(folder: Path) -> Path:
    return folder / "planes.npz"


def _file(folder: Path, one: Shipped, engine: str, picture: str) -> Path:
    return folder / f"{one}-{engine}-{picture}.png"


def _kept_agreement(file: Path, labels: U8) -> float:
    other = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if other is None:
        raise SystemExit(
            f"{file} is missing: python -m tests.arm64.labels write {file.parent}, on the other processor"
        )
    return float((labels == other).mean())


def _golden_agreement(one: Shipped, scene: str, labels: U8) -> float:
    golden = cv2.imread(str(one.golden(scene)), cv2.IMREAD_UNCHANGED)
    sure = golden != UNSURE
    return float((labels == golden)[sure].mean())


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]))
    else:
        sys.exit(compare(Path(sys.argv[2])))

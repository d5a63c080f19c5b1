"""The label maps of every network that ships, computed on two processors and compared.

``python -m tests.arm64.labels write FOLDER`` computes them here, with every engine, and keeps them.
``python -m tests.arm64.labels compare FOLDER`` computes them on the other processor, prints how many
the same label, and ends with exit code 1 where fewer do than rounding explains.

Three pictures: the two drawn ones that golden label maps exist of, and a photograph of the data folder in the
decoder's planes, as the daemon resizes them: there OpenCV itself rounds differently on other processors
(docs/decisions.md, record 34).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edgeseg import postprocess
from edgeseg.engines.base import Engine
from edgeseg.errors import EdgesegError
from edgeseg.frames import FrameTime, Picture
from edgeseg.manifest import Model
from edgeseg.preprocess import Preprocess
from edgeseg.runtimes import RUNTIMES
from edgeseg.zoo.data import read_picture
from tests.conftest import test_data
from tests.drawn_scenes import SCENES, U8
from tests.golden_maps import UNSURE, Shipped, answer
from tests.test_golden_maps import CASES, LEAST_AGREEMENT

PHOTO = "photo"


def main(action: str, folder: Path) -> int:
    """Returns the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    if action == "write":
        _keep_planes(folder)
    least: dict[str, list[float]] = {}
    print(f"{'label agreement':48}  golden   {'  '.join(f'{name:>6}' for name in (*SCENES, PHOTO))}")
    for one, engine in CASES:
        if not RUNTIMES[engine].installed:
            print(f"{one} {engine}: not installed ({RUNTIMES[engine].install})")
            continue
        started_s = time.monotonic()
        try:
            found = dict(_labels(one, engine, folder))
        except EdgesegError as error:
            print(f"{one} {engine}: {error}")
            least.setdefault(engine, []).append(0.0)
            continue
        took_s = time.monotonic() - started_s
        golden = min(_golden_agreement(one, scene, found[scene]) for scene in SCENES)
        figures = {
            name: _against(_file(folder, one, engine, name), labels, action) for name, labels in found.items()
        }
        shown = "  ".join(f"{figure:.4f}" for figure in figures.values())
        print(f"{f'{one} {engine}':48}  {golden:.4f}   {shown}   {took_s:.0f} s", flush=True)
        least.setdefault(engine, []).extend((golden, *figures.values()))
    for engine, figures_of_it in least.items():
        print(f"{engine}: {min(figures_of_it):.4f} at least")
    return int(min(min(one) for one in least.values()) < LEAST_AGREEMENT)


def _labels(one: Shipped, engine: str, folder: Path) -> Iterator[tuple[str, U8]]:
    loaded = one.opened(engine)
    for scene, draw in SCENES.items():
        yield scene, answer(loaded, one.model, draw()).labels[0]
    if _planes_file(folder).exists():
        yield PHOTO, _of_planes(loaded, one.model, folder)
    loaded.close()


def _of_planes(engine: Engine, model: Model, folder: Path) -> U8:
    with np.load(_planes_file(folder)) as kept:
        planes = tuple(kept[name] for name in "yuv")
    fit, views = Preprocess(model.fit, engine.input_size_px)(
        Picture(planes, "i420", False, "bt601", FrameTime(0.0, 0.0))
    )
    return postprocess.label_map(engine.run(views), fit, model).labels[0]


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


def _against(kept: Path, labels: U8, action: str) -> float:
    """The share of cells that the other processor gave the same label; writes them where it is the first."""
    if action == "write":
        cv2.imwrite(str(kept), labels)
    other = cv2.imread(str(kept), cv2.IMREAD_UNCHANGED)
    return float((other == labels).mean()) if other is not None else 0.0


def _golden_agreement(one: Shipped, scene: str, labels: U8) -> float:
    golden = cv2.imread(str(one.golden(scene)), cv2.IMREAD_UNCHANGED)
    sure = golden != UNSURE
    return float((labels == golden)[sure].mean())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))

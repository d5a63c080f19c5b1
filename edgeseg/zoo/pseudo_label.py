"""Labels by agreement of teachers, for any folder of pictures:
``python -m edgeseg.zoo.pseudo_label PICTURES --out DIR --teachers DIR --models DIR [--labels DIR]``.

Writes ``NAME.png`` (class of each pixel, 255 where nothing is known) and ``NAME.npz`` (soft targets) for
each picture. What is there already stays: run it again to resume. ``--labels`` names PNG files by people,
which win. ``--overlays N`` writes N pictures with their labels to look at, into ``DIR/overlays``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from edgeseg.errors import EdgesegError, ModelError
from edgeseg.frames import U8
from edgeseg.system.atomic_files import INTACT, atomic_write
from edgeseg.zoo import soft_targets
from edgeseg.zoo.data import PICTURE_ENDINGS, VOID, read_labels, read_picture
from edgeseg.zoo.label_agreement import Agreed, agree
from edgeseg.zoo.scenes import CLASSES, is_judge
from edgeseg.zoo.teachers import Teachers

WHOLE = ("coco_",)
"""People labelled every object in pictures whose names begin so."""

COLOURS = np.array(
    [
        *((120, 120, 120), (255, 40, 40), (255, 150, 0), (255, 220, 0), (40, 90, 255), (0, 220, 255)),
        *((150, 60, 255), (255, 0, 200), (0, 255, 90), (170, 110, 60), (70, 70, 90), (170, 160, 200)),
        *((190, 170, 120), (90, 150, 50), (20, 90, 30), (120, 70, 70), (205, 200, 170), (150, 200, 240)),
        *((30, 80, 130), (140, 110, 80)),
    ],
    np.uint8,
)
"""RGB of the classes, for overlays alone."""


def overlay(picture: U8, labels: U8) -> U8:
    """The picture beside itself under its labels; VOID stays dark. uint8 (h, 2 w, 3) RGB."""
    painted = np.zeros_like(picture)
    known = labels != VOID
    painted[known] = COLOURS[labels[known]]
    mixed = np.where(known[..., None], picture * 0.35 + painted * 0.65, picture * 0.25).astype(np.uint8)
    return np.hstack([picture, mixed])


def label(teachers: Teachers, picture: Path, human: Path | None) -> Agreed:
    """Labels of one picture file. human: its label PNG by people, where there is one. Raises ModelError."""
    pixels = read_picture(picture)
    given = None if human is None or not human.is_file() else read_labels(human, len(CLASSES))
    if given is not None and given.shape != pixels.shape[:2]:
        raise ModelError(f"{human}: {given.shape[1]} x {given.shape[0]}, not the size of {picture.name}")
    return agree(teachers(pixels), given, whole=picture.name.startswith(WHOLE))


def write(agreed: Agreed, out: Path, stem: str) -> None:
    """The soft targets first: a label file says that both are complete."""
    soft_targets.save(out / f"{stem}.npz", agreed.soft, agreed.known)
    done, stored = cv2.imencode(".png", agreed.labels)
    assert done
    with atomic_write(out / f"{stem}.png", INTACT) as partial:
        partial.write_bytes(stored.tobytes())


def pictures_of(folder: Path, beginnings: Sequence[str], *, judges: bool) -> list[Path]:
    """The pictures to label, sorted by name. Raises ModelError if there are none."""
    if not folder.is_dir():
        raise ModelError(f"{folder}: not a folder of pictures")
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in PICTURE_ENDINGS
        and path.name.startswith(tuple(beginnings) or "")
        and (judges or not is_judge(path.stem))
    ]
    if not found:
        raise ModelError(f"{folder}: no pictures to label in it")
    return found


def run(options: argparse.Namespace) -> int:
    """Label what has no labels yet. Returns how many pictures were labelled. Raises EdgesegError."""
    teachers = Teachers(options.teachers, options.models)
    pictures = pictures_of(options.pictures, options.only, judges=options.judges)
    every = max(1, len(pictures) // options.overlays) if options.overlays else 0
    count = 0
    for index, path in enumerate(pictures):
        if (options.out / f"{path.stem}.png").is_file():
            continue
        human = None if options.labels is None else options.labels / f"{path.stem}.png"
        agreed = label(teachers, path, human)
        if every and index % every == 0:
            sheet = overlay(read_picture(path), agreed.labels)
            _, stored = cv2.imencode(".jpg", sheet[..., ::-1])
            with atomic_write(options.out / "overlays" / f"{path.stem}.jpg", INTACT) as partial:
                partial.write_bytes(stored.tobytes())
        write(agreed, options.out, path.stem)
        count += 1
        if count % 50 == 0:
            print(f"{index + 1} of {len(pictures)}", file=sys.stderr, flush=True)
    return count


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 2 for a user's mistake, said in one line."""
    parser = argparse.ArgumentParser(prog="python -m edgeseg.zoo.pseudo_label", description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--teachers", type=Path, required=True, help="folder of ADE20K, ESPNetv2, YOLOX")
    parser.add_argument("--models", type=Path, required=True, help="folder of Coral's folded .npz")
    parser.add_argument("--labels", type=Path, help="label PNG files by people; they win")
    parser.add_argument("--only", action="append", default=[], metavar="BEGINNING", help="of file names")
    parser.add_argument("--overlays", type=int, default=0, metavar="N", help="pictures to look at")
    parser.add_argument("--judges", action="store_true", help="label the pictures of judging clips too")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    try:
        count = run(options)
    except EdgesegError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.out}: {count} pictures labelled")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Draw a run's curves: ``python -m edgeseg.zoo.plot OUT/curves.csv PICTURE``."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from matplotlib.figure import Figure

from edgeseg.errors import EdgesegError, ModelError
from edgeseg.system.atomic_files import INTACT, atomic_write


def plot_curves(curves: Path, picture: Path) -> None:
    """Loss and validation mIoU over steps, as PNG or SVG by the name's ending. Raises EdgesegError."""
    try:
        with curves.open(newline="") as file:
            rows = list(csv.DictReader(file))
        steps, loss, miou = ([float(row[key]) for row in rows] for key in ("step", "loss", "val_miou"))
    except (OSError, KeyError, ValueError) as error:
        raise ModelError(f"{curves}: not the curves of a training run ({error})") from error
    if not rows:
        raise ModelError(f"{curves}: no validation yet; train longer")
    figure = Figure(figsize=(7, 4), layout="constrained")
    left = figure.add_subplot()
    right = left.twinx()
    left.plot(steps, loss, color="tab:grey", label="loss")
    right.plot(steps, miou, color="tab:blue", marker=".", label="validation mIoU")
    left.set(xlabel="step", ylabel="loss")
    right.set(ylabel="validation mIoU", ylim=(0, 1))
    figure.legend(loc="outside upper center", ncols=2)
    with atomic_write(picture, INTACT) as partial:
        figure.savefig(partial)


def main() -> int:
    """Returns the exit code."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        plot_curves(Path(sys.argv[1]), Path(sys.argv[2]))
    except EdgesegError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

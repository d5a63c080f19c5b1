"""How far square metres and distances are off, by distance and grid.

``python -m tests.scripts.ground_figure PNG``

The scene is one of ``test_ground``; the network is faultless, so what is left is what the grid does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tests.geometry.test_ground_plane import RING, YARD, block, measured, points

CAR_M2 = 1.8 * 4.0
GRIDS = (64, 128, 256)


def draw(path: Path) -> None:
    foot = YARD.on_ground(points((0.5, 1.0)))[0]
    nears = np.linspace(4.4, 11.0, 60)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    area, distance = figure.subplots(1, 2)
    for grid in GRIDS:
        areas, distances = [], []
        for near in nears.tolist():
            ground = measured(YARD, [(1, block(-0.9, near))], RING, grid).ground
            assert ground is not None
            car = ground.classes["car"]
            areas.append(100 * (car.m2 / CAR_M2 - 1))
            distances.append((car.nearest_m or 0.0) - (near - foot[1]))
        label = f"{grid} x {grid}: {np.abs(areas).mean():.1f} % on average"
        area.plot(nears - foot[1], areas, lw=1, label=label)
        distance.plot(
            nears - foot[1], distances, lw=1, label=f"{grid} x {grid}: {np.abs(distances).mean():.2f} m"
        )
        print(
            f"{grid}: area {np.abs(areas).mean():.2f} %, at most {np.abs(areas).max():.1f} %; "
            f"nearest {np.abs(distances).mean():.3f} m, at most {np.abs(distances).max():.2f} m"
        )
    area.set(xlabel="distance of the nearest side, m", ylabel="error of a car's 7.2 m2, %")
    distance.set(xlabel="distance of the nearest side, m", ylabel="error of nearest, m")
    for axis in (area, distance):
        axis.axhline(0, color="0.7", lw=0.8)
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))

"""Archive page: the data of one camera's picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.frames import U8

F64 = npt.NDArray[np.float64]
Counts = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Hours:
    """Mean share of each class in one zone. at: where the bins are drawn. shares: class -> (bins,), 0-1, NaN
    where the zone was unknown all the time. known: whether anything is, of each bin. by: what a bin is."""

    zone: str
    by: str
    at: list[int]
    labels: list[str]
    shares: dict[str, F64]
    known: list[bool]


@dataclass(frozen=True, slots=True, eq=False)
class CameraHeatmap:
    """counts: (classes, rows, columns), in how many pictures the cell showed the class. picture: RGB; None
    where there is none."""

    classes: tuple[str, ...]
    counts: Counts
    picture: U8 | None


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """What is drawn of a camera. shown: classes, most common first. aspect: of the view, width by height.
    rules: ``zone/rule`` -> beginning in days since 1970 and length in seconds of each alert. span: the first
    and the last day, by the archive's own clock."""

    title: str
    hours: tuple[Hours, ...]
    view: CameraHeatmap
    shown: tuple[str, ...]
    aspect: float
    alerts_title: str
    rules: dict[str, list[tuple[float, float]]]
    span: tuple[float, float]

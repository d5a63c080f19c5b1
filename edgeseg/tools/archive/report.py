"""Archive report: a picture of each camera's occupancy, heat map and alerts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.errors import EdgesegError
from edgeseg.system.atomic_files import INTACT, atomic_write
from edgeseg.tools.archive import plot, tables
from edgeseg.tools.archive.page import CameraHeatmap, Hours, Page
from edgeseg.tools.archive.run import HEAT

F64 = npt.NDArray[np.float64]

# What is shown of the classes that are there: the most common, background not among them.
_MOST_CLASSES = 6
_BACKGROUND = "background"
_LEAST_SHARE = 0.01
_MINUTE_US = 60_000_000
_DAY_US = 24 * 60 * _MINUTE_US
# Less than this is shown minute by minute.
_SHORT_MINUTES = 180


def report(archive: Path, folder: Path) -> Iterator[Path]:
    """Draw a PNG of each camera into ``folder``; yields its path. Raises EdgesegError where there is no
    archive."""
    roots = sorted((archive / tables.OCCUPANCY).glob("camera=*"))
    if not roots:
        raise EdgesegError(
            f"{archive}: holds no archive; `edgeseg archive FOLDER PIPELINE -o {archive}` makes one"
        )
    for root in roots:
        path = folder / f"{root.name.partition('=')[2]}.png"
        with atomic_write(path, INTACT) as partial:
            plot.draw(page_of(archive, root.name.partition("=")[2]), partial)
        yield path


def page_of(archive: Path, camera: str) -> Page:
    """Raises EdgesegError where a part of the archive is missing or damaged."""
    view, seen = _view(archive / HEAT / f"{camera}.npz"), tables.read_occupancy(archive, camera)
    shown = tuple(view.classes[one] for one in _common(view))
    first_us, last_us = int(seen.local_us.min()), int(seen.local_us.max())
    # Alerts have UTC; on the page everything is by the archive's own clock.
    ahead = timedelta(microseconds=first_us - int(seen.utc_us.min()))
    rules: dict[str, list[tuple[float, float]]] = {}
    alerts = tables.read_alerts(archive, camera)
    for alert in alerts:
        began = alert["began_at"] + ahead
        began_day = np.datetime64(began, "us").astype(np.int64) / _DAY_US
        lasts_s = (
            alert["seconds"] if alert["seconds"] is not None else (last_us / _DAY_US - began_day) * 86_400
        )
        rules.setdefault(f"{alert['zone']}/{alert['rule']}", []).append((float(began_day), float(lasts_s)))
    height, width = view.picture.shape[:2] if view.picture is not None else view.counts.shape[1:]
    days = ", ".join(
        dict.fromkeys(str(np.datetime64(us, "us").astype("datetime64[D]")) for us in (first_us, last_us))
    )
    hours = tuple(_hours(seen, zone, shown) for zone in dict.fromkeys(seen.zones))
    return Page(
        f"{camera}: {days.replace(', ', ' to ')}",
        hours,
        view,
        shown,
        width / height,
        f"{len(alerts)} alerts" if alerts else "no alerts",
        dict(sorted(rules.items())),
        (first_us / _DAY_US, max(last_us, first_us + _MINUTE_US) / _DAY_US),
    )


def _common(view: CameraHeatmap) -> list[int]:
    seen = view.counts.sum(axis=(1, 2))
    # What is nowhere in more than a picture of a hundred is the network's doubt.
    least = _LEAST_SHARE * view.counts.sum(axis=0).max()
    order = np.argsort(seen, kind="stable")[::-1]
    there = [int(one) for one in order if seen[one] and view.counts[one].max() >= least]
    return [one for one in there if view.classes[one] != _BACKGROUND][:_MOST_CLASSES]


def _hours(seen: tables.Seen, zone: str, classes: tuple[str, ...]) -> Hours:
    """By the hour of the day, or by the minute where there is little; what is unknown does not count."""
    rows = np.array([one == zone for one in seen.zones])
    minutes = seen.local_us[rows] // _MINUTE_US
    first, last = int(minutes.min()), int(minutes.max())
    if last - first < _SHORT_MINUTES:
        by, bins, count = "minute", minutes - first, last - first + 1
        labels = [f"{(first + one) // 60 % 24:02d}:{(first + one) % 60:02d}" for one in range(count)]
    else:
        by, bins, count = "hour of the day", minutes // 60 % 24, 24
        labels = [f"{hour:02d}" for hour in range(24)]
    shares, known_at_all = {}, np.zeros(count, np.bool_)
    for name in classes:
        values = seen.shares[tables.share_column(name)][rows]
        known = ~np.isnan(values)
        counts = np.bincount(bins[known], minlength=count)
        sums = np.bincount(bins[known], values[known], minlength=count)
        shares[name] = np.divide(sums, counts, out=np.full(count, np.nan), where=counts > 0)
        known_at_all |= counts > 0
    return Hours(zone, by, list(range(count)), labels, shares, known_at_all.tolist())


def _view(path: Path) -> CameraHeatmap:
    try:
        with np.load(path) as arrays:
            data = arrays["view"]
            bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
            picture = None if bgr is None else cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            return CameraHeatmap(tuple(arrays["classes"].tolist()), arrays["counts"], picture)
    except (OSError, ValueError, KeyError) as error:
        raise EdgesegError(f"{path}: cannot be read: {error}; run `edgeseg archive` again") from None

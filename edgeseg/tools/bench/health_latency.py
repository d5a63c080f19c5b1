"""Picture health bench: how soon faults are noticed, and how often there is a false alarm.

Each fault is laid over each clip after the camera's usual view was learned, by the checks that run in camera
processes. A picture counts as *held back* from the first look on after which nothing of it is analysed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from edgeseg.frames import Picture, Transform
from edgeseg.geometry.view_registration import moved_points
from edgeseg.screening.health.monitor import HealthMonitor, HealthMonitorSettings
from edgeseg.settings import HealthSettings
from edgeseg.sources.open import open_source
from edgeseg.sources.pacer import Pacer
from edgeseg.tools.bench.picture_faults import FAULTS, HARMLESS, Fault, stuck

_RATE_FPS = 5.0
_ONSET_S = 12.0
_LASTS_S = 16.0
_FROZEN_LASTS_S = 60.0
_WATCHED_AT_MOST_S = 600.0
_SIDES = (0.1, 0.5, 0.9)


@dataclass(frozen=True, slots=True)
class FaultTrial:
    """One fault on one clip, in seconds from its beginning; None where it did not come to that.

    told: the reported state. error: of the transform, the farthest of nine points, as a share of the
    picture's width.
    """

    fault: str
    clip: str
    expected: str
    told: str | None
    held_back_s: float | None
    told_s: float | None
    error: float | None


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """A clip without a fault. alarms: the reported states; doubtful_s: how long pictures were held back."""

    clip: str
    change: str
    duration_s: float
    alarms: tuple[str, ...]
    doubtful_s: float
    look_us: float


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of fault over all clips."""

    fault: str
    trials: int
    detected: int
    as_expected: int
    held_back_s: tuple[float, float] | None
    told_s: tuple[float, float] | None
    error: float | None


def try_faults(
    clips: Sequence[Path], faults: Sequence[Fault] = FAULTS, advance: Callable[[float], None] = lambda _: None
) -> list[FaultTrial]:
    """Every fault on every clip. Raises SourceError."""
    trials = []
    for number, clip in enumerate(clips):
        pictures = list(_pictures(clip, _ONSET_S + _LASTS_S))
        for index, fault in enumerate(faults):
            trials.append(_try(fault, clip.stem, pictures))
            advance((number + (index + 1) / len(faults)) / len(clips))
    return trials


def false_alarms(clips: Sequence[Path], changes: Iterable[str] = ("", *HARMLESS)) -> list[FalseAlarms]:
    """Every clip as it is (the empty name), and with changes that good cameras see. Raises SourceError."""
    # As in a camera process.
    cv2.setNumThreads(1)
    return [_false_alarms_of(clip, name) for clip in clips for name in changes]


def rows(trials: Sequence[FaultTrial]) -> list[Row]:
    """The table, in the order of the faults."""
    table = []
    for name in dict.fromkeys(trial.fault for trial in trials):
        of = [trial for trial in trials if trial.fault == name]
        held = [trial.held_back_s for trial in of if trial.held_back_s is not None]
        told = [trial.told_s for trial in of if trial.told_s is not None]
        errors = [trial.error for trial in of if trial.error is not None]
        table.append(
            Row(
                name,
                trials=len(of),
                detected=len(told),
                as_expected=sum(trial.told == trial.expected for trial in of),
                held_back_s=(median(held), max(held)) if held else None,
                told_s=(median(told), max(told)) if told else None,
                error=max(errors) if errors else None,
            )
        )
    return table


def upper_bound_per_hour(alarms: int, hours: float) -> float:
    """95 % upper bound of a Poisson rate (Garwood 1936); 3 an hour for none in one hour."""
    low, high = 0.0, 10.0 * (alarms + 5)
    while high - low > 1e-9:
        middle = (low + high) / 2
        chance = sum(math.exp(-middle) * middle**n / math.factorial(n) for n in range(alarms + 1))
        low, high = (middle, high) if chance > 0.05 else (low, middle)
    return high / hours


def _pictures(clip: Path, until_s: float) -> Iterator[Picture]:
    with open_source(str(clip), epoch_s=0.0) as source:
        pacer = Pacer(_RATE_FPS)
        for picture in source:
            if picture.time.camera_time_s > until_s:
                return
            if pacer.is_due(picture.time.camera_time_s):
                yield replace(picture, planes=tuple(np.array(plane) for plane in picture.planes))


def _try(fault: Fault, clip: str, pictures: Sequence[Picture]) -> FaultTrial:
    health = _health()
    held_s: float | None = None
    last: Picture | None = None
    for picture, since_s in _spoilt(fault, pictures):
        last = picture
        health.update(picture, picture.time.camera_time_s)
        if since_s is None:
            continue
        if not health.suspect:
            held_s = None
        elif held_s is None:
            held_s = since_s
        if health.health.state is not None:
            told, found = health.health.state, health.health.transform
            truth = fault.truth((picture.height_px, picture.width_px))
            error = _error(truth, found, picture) if told == "moved" and truth and found else None
            return FaultTrial(fault.name, clip, fault.expected, told, held_s, since_s, error)
    assert last is not None, "a clip without pictures"
    return FaultTrial(fault.name, clip, fault.expected, None, held_s, None, None)


def _spoilt(fault: Fault, pictures: Sequence[Picture]) -> Iterator[tuple[Picture, float | None]]:
    for number, picture in enumerate(pictures):
        since_s = picture.time.camera_time_s - _ONSET_S
        if since_s < 0:
            yield picture, None
        elif fault.spoil is not None:
            yield fault.spoil(picture, since_s), since_s
        else:
            before = pictures[max(0, number - 1)]
            for again in stuck(before, fault.coded, _FROZEN_LASTS_S):
                since_s = again.time.camera_time_s - before.time.camera_time_s
                yield again, since_s if since_s > 0 else None
            return


def _error(truth: Transform, found: Transform, picture: Picture) -> float:
    points = [(x, y) for x in _SIDES for y in _SIDES]
    apart = np.array(moved_points(points, truth)) - np.array(moved_points(points, found))
    return float(np.hypot(apart[:, 0], apart[:, 1] * picture.height_px / picture.width_px).max())


def _false_alarms_of(clip: Path, change: str) -> FalseAlarms:
    health = _health()
    alarms: list[str] = []
    doubtful = looks = 0
    cpu_s = last_s = 0.0
    for picture in _pictures(clip, _WATCHED_AT_MOST_S):
        last_s = picture.time.camera_time_s
        if change and last_s >= _ONSET_S:
            picture = HARMLESS[change](picture)
        began_s = time.process_time()
        changed = health.update(picture, last_s)
        cpu_s += time.process_time() - began_s
        looks += 1
        doubtful += health.suspect
        if changed and health.health.state is not None:
            alarms.append(health.health.state)
    return FalseAlarms(
        clip.stem, change, last_s, tuple(alarms), doubtful / _RATE_FPS, cpu_s / max(looks, 1) * 1e6
    )


def _health() -> HealthMonitor:
    return HealthMonitor(HealthMonitorSettings(HealthSettings(), ()))

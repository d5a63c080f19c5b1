"""Takes down what zones looked like: minutes for the history, the last hour for rules to be tried on."""

from __future__ import annotations

import logging
import threading
from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeseg.clock import Clock
from edgeseg.events import Alert, CameraRemoved, Event, ZoneOccupancy
from edgeseg.frames import FrameTime
from edgeseg.publish.base import SilentPublisher
from edgeseg.publish.payloads import AlertPayload
from edgeseg.state.history import History, StepKey, ZoneStep

log = logging.getLogger(__name__)

_MINUTE_S = 60
# A value holds until the next one, but no longer: then nobody watched.
_HOLDS_S = 10.0
# Rules are tried on one observation a second: a transition moves by at most that.
_RECORD_EVERY_S = 1.0
_RECORD_S = 3600.0
# About 150 bytes each: 15 MB. From 27 zones on the record of each is shorter than an hour.
_MOST_RECORDS = 100_000
_UNIT = 10_000


@dataclass(frozen=True, slots=True)
class _Record:
    """One observation, small. names: of the classes, shared by many; shares: in units of 0.01 %."""

    time_s: float
    utc_s: float
    names: tuple[str, ...]
    shares: array[int]
    dominant: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class _Last:
    """The newest value of a zone, until when it has been counted."""

    time_s: float
    utc_s: float
    coverage: Mapping[str, float] | None


class HistoryRecorder(SilentPublisher):
    """A publisher. Thread-safe; ``send`` takes some microseconds and never waits for the disk, but for
    alerts, which are stored in the transaction that they are stored in anyway."""

    def __init__(self, history: History, clock: Clock) -> None:
        self.history = history
        self._clock = clock
        self._lock = threading.Lock()
        self._steps: dict[StepKey, ZoneStep] = {}
        self._last: dict[tuple[str, str], _Last] = {}
        self._records: dict[tuple[str, str], deque[_Record]] = {}
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}

    def close(self) -> None:
        """Store what there is of the minute under way. Idempotent."""
        self.store(unfinished=True)

    def send(self, event: Event) -> None:
        match event:
            case ZoneOccupancy():
                with self._lock:
                    self._count(event)
                    self._record(event)
            case Alert():
                body = AlertPayload.of(event).model_dump_json()
                self.history.note_alert(event.id, event.camera, body)
            case CameraRemoved():
                with self._lock:
                    for key in [key for key in self._last if key[0] == event.camera]:
                        del self._last[key]
            case _:
                pass

    def store(self, *, unfinished: bool = False) -> None:
        """Write minutes that are over to the database. unfinished: the one under way too."""
        now_s = self._clock.utc_s()
        with self._lock:
            for key, last in list(self._last.items()):
                # What is unknown is told once, not again and again as what is known.
                if last.coverage is None:
                    self._advance(key, self._clock.monotonic_s())
            # Minutes of the future are of a clock that was set back since.
            due = [key for key in self._steps if unfinished or not 0 <= now_s - key.at_s < _MINUTE_S]
            steps = {key: self._steps.pop(key) for key in due}
        if steps:
            self.history.add(steps)

    def pending(self, camera: str, zone: str) -> Sequence[tuple[int, ZoneStep]]:
        """Minutes that are not written yet, in order: copies."""
        with self._lock:
            found = []
            for key, step in sorted(self._steps.items(), key=lambda pair: pair[0].at_s):
                if (key.camera, key.zone) == (camera, zone):
                    copy = ZoneStep()
                    copy.merge(step)
                    found.append((key.at_s, copy))
            return found

    def recorded(self, camera: str, zone: str, model: str) -> list[ZoneOccupancy]:
        """The last hour of a zone, about one observation a second, oldest first."""
        with self._lock:
            records = list(self._records.get((camera, zone), ()))
        return [_occupancy(camera, zone, model, number, one) for number, one in enumerate(records)]

    def forget(self, camera: str, zones: Sequence[str]) -> None:
        """These zones cover something else from now on: what was recorded of them says nothing of it."""
        with self._lock:
            for zone in zones:
                self._records.pop((camera, zone), None)

    def _count(self, event: ZoneOccupancy) -> None:
        """The value before has held until now."""
        key, time = (event.camera, event.zone), event.time
        self._advance(key, time.camera_time_s)
        self._last[key] = _Last(time.camera_time_s, time.captured_at_s, event.coverage)

    def _advance(self, key: tuple[str, str], until_s: float) -> None:
        last = self._last.get(key)
        if last is None:
            return
        passed_s = until_s - last.time_s
        left_s = passed_s if last.coverage is None else min(passed_s, _HOLDS_S)
        at_s = last.utc_s
        while left_s > 0:
            minute = int(at_s) // _MINUTE_S * _MINUTE_S
            part_s = min(left_s, minute + _MINUTE_S - at_s)
            step = self._steps.setdefault(StepKey(*key, minute), ZoneStep())
            step.add(last.coverage, part_s)
            left_s -= part_s
            at_s = minute + _MINUTE_S
        self._last[key] = _Last(until_s, last.utc_s + passed_s, last.coverage)

    def _record(self, event: ZoneOccupancy) -> None:
        records = self._records.setdefault((event.camera, event.zone), deque())
        time, newest = event.time, records[-1] if records else None
        if newest is not None:
            since_s = time.camera_time_s - newest.time_s
            if event.reason == newest.reason and 0 <= since_s < _RECORD_EVERY_S - 1e-3:
                return
        coverage = event.coverage or {}
        names = tuple(coverage)
        records.append(
            _Record(
                time.camera_time_s,
                time.captured_at_s,
                self._names.setdefault(names, names),
                array("H", [round(share * _UNIT) for share in coverage.values()]),
                event.dominant,
                event.reason,
            )
        )
        most = max(60, _MOST_RECORDS // len(self._records))
        while len(records) > most or time.camera_time_s - records[0].time_s > _RECORD_S:
            records.popleft()


def _occupancy(camera: str, zone: str, model: str, seq: int, one: _Record) -> ZoneOccupancy:
    known = one.reason is None
    return ZoneOccupancy(
        camera=camera,
        zone=zone,
        seq=seq,
        time=FrameTime(one.time_s, one.utc_s),
        state="ok" if known else "unknown",
        reason=one.reason,
        coverage={name: share / _UNIT for name, share in zip(one.names, one.shares, strict=True)}
        if known
        else None,
        uncertain=None,
        dominant=one.dominant,
        confidence=None,
        model=model,
    )

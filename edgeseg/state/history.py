"""Occupancy over time and past alerts, for people who look back: bounded, in the node's database.

Steps of a minute are kept for a day, steps of a quarter of an hour for a month, alerts by their number. What
a disk that fails cannot take is lost, unlike alerts that wait: this is a copy for people.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from edgeseg.state.database import Database, Execute

Resolution = Literal["1m", "15m"]
STEP_S: Mapping[Resolution, int] = {"1m": 60, "15m": 900}
_KEPT_S: Mapping[Resolution, int] = {"1m": 86_400, "15m": 31 * 86_400}
# About 250 bytes each: 50 MB, what 45 zones fill. More zones go back less far.
MOST_STEPS = 200_000
MOST_ALERTS = 2_000
# The bound is approached from above: counting rows is not worth it every minute.
_TRIM_EVERY = 30
# From which share on a class counts as present: what networks call a class by mistake covers less.
OCCUPIED_FROM = 0.01


@dataclass(slots=True)
class Span:
    """One class in one step. Shares 0-1, of known time only; area_s: the integral of the share over time."""

    least: float
    area_s: float
    most: float
    occupied_s: float

    def add(self, share: float, duration_s: float) -> None:
        """It covered ``share`` for that long."""
        self.least = min(self.least, share)
        self.most = max(self.most, share)
        self.area_s += share * duration_s
        if share >= OCCUPIED_FROM:
            self.occupied_s += duration_s


@dataclass(slots=True)
class ZoneStep:
    """A zone in one step. Time that is neither known nor unknown nobody watched."""

    known_s: float = 0.0
    unknown_s: float = 0.0
    classes: dict[str, Span] = field(default_factory=dict)

    def add(self, coverage: Mapping[str, float] | None, duration_s: float) -> None:
        """It looked so for that long; None: unknown."""
        if coverage is None:
            self.unknown_s += duration_s
            return
        for name, share in coverage.items():
            span = self.classes.get(name)
            if span is None:
                # A class that is named for the first time was absent before.
                least = 0.0 if self.known_s > 0 else share
                span = self.classes[name] = Span(least, 0.0, share, 0.0)
            span.add(share, duration_s)
        for name in self.classes.keys() - coverage.keys():
            self.classes[name].least = 0.0
        self.known_s += duration_s

    def merge(self, other: ZoneStep) -> None:
        """Take in another part of the same step."""
        for name in self.classes.keys() | other.classes.keys():
            mine, theirs = self.classes.get(name), other.classes.get(name)
            if mine is None or theirs is None:
                one = mine or theirs
                assert one is not None
                rest_s = other.known_s if theirs is None else self.known_s
                mine = Span(0.0 if rest_s > 0 else one.least, one.area_s, one.most, one.occupied_s)
            else:
                mine.least, mine.most = min(mine.least, theirs.least), max(mine.most, theirs.most)
                mine.area_s += theirs.area_s
                mine.occupied_s += theirs.occupied_s
            self.classes[name] = mine
        self.known_s += other.known_s
        self.unknown_s += other.unknown_s

    def encode(self) -> str:
        classes = {
            name: [round(one.least, 4), round(one.area_s, 3), round(one.most, 4), round(one.occupied_s, 2)]
            for name, one in self.classes.items()
        }
        return json.dumps([round(self.known_s, 2), round(self.unknown_s, 2), classes], separators=(",", ":"))

    @classmethod
    def decode(cls, body: str) -> ZoneStep:
        """Raises ValueError for what ``encode`` did not write."""
        try:
            known_s, unknown_s, classes = json.loads(body)
            spans = {str(name): Span(*map(float, values)) for name, values in classes.items()}
            return cls(float(known_s), float(unknown_s), spans)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"not a step of the history: {error}") from None


@dataclass(frozen=True, slots=True)
class StepKey:
    """Which step of which zone. at_s: Unix seconds of its beginning, a multiple of its length."""

    camera: str
    zone: str
    at_s: int


class History:
    """The part of the node's database that people look back on. Thread-safe."""

    def __init__(self, database: Database, most_steps: int = MOST_STEPS) -> None:
        self._database = database
        self._most_steps = most_steps
        self._writes = 0

    def add(self, steps: Mapping[StepKey, ZoneStep]) -> None:
        """Store minutes that are over, or the parts of them that there are; parts of one add up."""
        self._writes += 1
        trim = self._writes % _TRIM_EVERY == 1
        rows: list[tuple[str | int, ...]] = []
        for resolution, step_s in STEP_S.items():
            for key, step in _grouped(steps, step_s).items():
                for _, kept in self.steps(key.camera, key.zone, resolution, key.at_s, key.at_s + 1):
                    step.merge(kept)
                rows.append((resolution, key.camera, key.zone, key.at_s, step.encode()))

        def change(execute: Execute) -> None:
            for row in rows:
                execute("INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?, ?)", row)
            if trim and steps:
                _trim(execute, max(key.at_s for key in steps), self._most_steps)

        self._database.write(change)

    def steps(
        self, camera: str, zone: str, resolution: Resolution, from_s: float, to_s: float
    ) -> list[tuple[int, ZoneStep]]:
        """(beginning, step) of those that begin in [from_s, to_s), Unix seconds, in order."""
        rows = self._database.read(
            "SELECT at, body FROM history WHERE resolution = ? AND camera = ? AND zone = ?"
            " AND at >= ? AND at < ? ORDER BY at",
            resolution,
            camera,
            zone,
            from_s,
            to_s,
        )
        found = []
        for at_s, body in rows:
            # A value that a failing disk damaged is one gap more.
            with suppress(ValueError):
                found.append((int(at_s), ZoneStep.decode(body)))
        return found

    def note_alert(self, alert_id: str, camera: str, body: str) -> None:
        """Keep an alert's newest message, stored with what else the caller stores together."""

        def change(execute: Execute) -> None:
            execute("DELETE FROM past_alert WHERE id = ?", (alert_id,))
            execute("INSERT INTO past_alert (id, camera, body) VALUES (?, ?, ?)", (alert_id, camera, body))
            execute(
                "DELETE FROM past_alert WHERE row <= (SELECT max(row) FROM past_alert) - ?", (MOST_ALERTS,)
            )

        self._database.write(change)

    def alerts(self, limit: int, camera: str | None = None) -> list[str]:
        """Bodies, the one that changed last first."""
        if camera is None:
            rows = self._database.read("SELECT body FROM past_alert ORDER BY row DESC LIMIT ?", limit)
        else:
            rows = self._database.read(
                "SELECT body FROM past_alert WHERE camera = ? ORDER BY row DESC LIMIT ?", camera, limit
            )
        return [str(body) for (body,) in rows]


def _grouped(steps: Mapping[StepKey, ZoneStep], step_s: int) -> dict[StepKey, ZoneStep]:
    groups: dict[StepKey, ZoneStep] = {}
    for key, step in steps.items():
        longer = StepKey(key.camera, key.zone, key.at_s // step_s * step_s)
        groups.setdefault(longer, ZoneStep()).merge(step)
    return groups


def _trim(execute: Execute, now_s: int, most_steps: int) -> None:
    for resolution, kept_s in _KEPT_S.items():
        execute("DELETE FROM history WHERE resolution = ? AND at < ?", (resolution, now_s - kept_s))
    execute(
        "DELETE FROM history WHERE rowid IN (SELECT rowid FROM history ORDER BY at DESC LIMIT -1 OFFSET ?)",
        (most_steps,),
    )

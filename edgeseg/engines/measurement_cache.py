"""Measurement cache: benchmark results of ``engine: auto``, valid until something they depend on changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from edgeseg import __version__
from edgeseg.engines import hardware
from edgeseg.errors import EdgesegError
from edgeseg.models.model import Artefact, Model
from edgeseg.models.runtimes import ENGINES
from edgeseg.system.atomic_files import atomic_write
from edgeseg.system.paths import cache_dir


class Choice(Protocol):
    """An engine and the artefact it runs."""

    @property
    def engine(self) -> str: ...

    @property
    def artefact(self) -> Artefact: ...


State = Literal["chosen", "slower", "absent", "failed"]


@dataclass(frozen=True, slots=True)
class Result:
    """How one engine did with one artefact.

    cpu_ms: CPU time of a frame, all threads. wall_ms: the time it took. None where it did not run.
    times: its time for a frame in units of the best one's. agreement: share of cells with the reference's
    label. state: ``absent`` is what this machine does not have, ``failed`` what should have worked.
    verdict: the same in words, with the reason.
    """

    engine: str
    file: str
    device: str
    cpu_ms: float | None
    wall_ms: float | None
    times: float | None
    agreement: float | None
    state: State
    verdict: str


@dataclass(frozen=True, slots=True)
class Table:
    """One measurement: every candidate's result. chosen: index of the best, None where none could run."""

    results: tuple[Result, ...]
    chosen: int | None

    @property
    def best(self) -> Result | None:
        return None if self.chosen is None else self.results[self.chosen]

    def ranking(self) -> tuple[Result, ...]:
        """Those that work, best first."""
        working = [result for result in self.results if result.times is not None]
        return tuple(sorted(working, key=lambda result: result.times or 0.0))


def choice(
    model: Model, input_size_px: tuple[int, int], threads: int, options: Sequence[Choice]
) -> Choice | None:
    """Return the one of ``options`` that was the best here; None where no measurement is cached."""
    table = load(model, input_size_px, threads, options)
    best = table.best if table else None
    for option in options:
        if best is not None and (option.engine, option.artefact.blob.file) == (best.engine, best.file):
            return option
    return None


def load(
    model: Model,
    input_size_px: tuple[int, int],
    threads: int,
    options: Sequence[Choice],
    exactly: bool = False,
) -> Table | None:
    """Return the cached results of this machine; None where there are none, or where they no longer hold.

    Args:
        model: the network.
        input_size_px: (width, height).
        threads: of one run.
        options: the candidates, part of the cache key.
        exactly: only results of so many threads; else those of another number will do.
    """
    try:
        text = _file(model, input_size_px).read_text()
        stored = json.loads(text)
        if stored["key"] != _key(model, input_size_px, options):
            return None
        tables: dict[str, Any] = stored["threads"]
        table = tables.get(str(threads)) or (None if exactly else next(iter(tables.values())))
        if table is None:
            return None
        return Table(tuple(Result(**result) for result in table["results"]), table["chosen"])
    except (EdgesegError, OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
        # Not there, damaged, or written by another version: it is only a cache, and measured again.
        return None


def save(
    model: Model, input_size_px: tuple[int, int], threads: int, options: Sequence[Choice], table: Table
) -> None:
    """Save ``table`` for the next start, beside the results of other numbers of threads.

    Raises EdgesegError where the cache cannot be written.
    """
    path, key = _file(model, input_size_px), _key(model, input_size_px, options)
    others: dict[str, Any] = {}
    try:
        stored = json.loads(path.read_text())
        others = stored["threads"] if stored["key"] == key else {}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    document = {"key": key, "threads": {**others, str(threads): asdict(table)}}
    with atomic_write(path, "name a folder to write to in EDGESEG_CACHE") as partial:
        partial.write_text(json.dumps(document, indent=1))


def _file(model: Model, size_px: tuple[int, int]) -> Path:
    width, height = size_px
    return cache_dir() / "engines" / f"{model.name}-{width}x{height}-{model.digest[:8]}.json"


def _key(model: Model, size_px: tuple[int, int], options: Sequence[Choice]) -> dict[str, Any]:
    """All that a measurement depends on, except the number of threads."""
    engines = sorted({option.engine for option in options})
    return {
        "edgeseg": __version__,
        "model": model.digest,
        "size": list(size_px),
        "candidates": [[option.engine, option.artefact.blob.sha256] for option in options],
        "versions": {engine: ENGINES[engine].version for engine in engines},
        "cpu": hardware.cpu(),
        "devices": [*hardware.nvidia_gpus(), *hardware.edge_tpus(), *hardware.render_nodes()],
    }

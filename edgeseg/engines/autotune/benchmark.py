"""Engine benchmark: runs the best candidate so far and the next one in turn, frame by frame."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import cv2
import numpy as np

from edgeseg.clock import Clock
from edgeseg.engines import hardware
from edgeseg.engines.autotune.worker import (
    BenchmarkWorker,
    CandidateFailed,
    Mask,
    RunTimes,
    WorkerJob,
    picture_count,
)
from edgeseg.engines.measurement_cache import Result, State, Table
from edgeseg.engines.select import EngineCandidate
from edgeseg.frames import U8
from edgeseg.models.model import Model
from edgeseg.models.runtimes import ENGINES

# Two int8 kernels that both are right differ along borders, in about 1 % of the cells; a wrong channel
# order or normalisation changes a tenth at least.
LEAST_AGREEMENT = 0.97
LEAST_AGREEMENT_GATED = 0.9
# All of them together: half of what systemd's watchdog allows a daemon that reloads.
LIMIT_S = 30.0
_COMPARISON_S = 1.0
_FEWEST_ROUNDS, _MOST_ROUNDS = 4, 40
# A candidate that is this much slower after the fewest rounds does not catch up.
_TOO_SLOW = 1.5
# A tie goes to the candidate that came first, which the model's and our own order prefer.
_CLEARLY_FASTER = 0.98
# The lower quartile: what disturbs a frame only ever makes it longer.
_TYPICAL = 0.25
_TIMES = ("cpu_s", "wall_s")
_SHORTEST_WAIT_S = 1.0

# Of the cells of a picture.
_TOO_FEW = 0.02

Report = Callable[[str], None]
Answers = Sequence[tuple[U8, Mask]]


@dataclass(slots=True)
class _Runner:
    """A candidate that works. cost: time of a frame in units of the reference's."""

    candidate: EngineCandidate
    process: BenchmarkWorker
    device: str
    agreement: float
    cost: float = 1.0
    runs: list[RunTimes] = field(default_factory=list)

    def typical_s(self) -> float:
        accelerator = ENGINES[self.candidate.engine].accelerator
        costs = [max(run.cpu_s, run.wall_s) if accelerator else run.cpu_s for run in self.runs]
        return max(float(np.quantile(costs, _TYPICAL)), 1e-6)


def measure(
    model: Model,
    options: Sequence[EngineCandidate],
    input_size_px: tuple[int, int],
    threads: int,
    limit_s: float,
    clock: Clock,
    stop: threading.Event,
    report: Report | None = None,
) -> Table:
    """Benchmark all ``options``. Takes about 2 s for each.

    Args:
        model: the network.
        options: the candidates.
        input_size_px: (width, height).
        threads: of one run.
        limit_s: for all of them together.
        clock: of the limit.
        stop: ends the benchmark early.
        report: called with each candidate's name before its turn.
    """
    benchmark = _Benchmark(model, input_size_px, threads, clock.monotonic_s() + limit_s, clock, stop)
    try:
        for candidate in _reference_first(options):
            if report is not None:
                report(str(candidate))
            benchmark.add(candidate)
        return benchmark.table(options)
    finally:
        benchmark.close()


def least_agreement(candidate: EngineCandidate) -> float:
    """Return the accuracy bound.

    An int8 artefact that passed the acceptance gate on the user's own frames has shown there what
    its quantization costs; what is left to show is that this engine computes it."""
    figures = candidate.artefact.figures
    gated = candidate.artefact.precision == "int8" and figures is not None and not figures.forced
    return LEAST_AGREEMENT_GATED if gated else LEAST_AGREEMENT


def agreement(answers: Answers, reference: Answers) -> float:
    """Return the share of the cells of which the reference is sure that have the same label.

    Another grid is read at the nearest cell. Where the reference is sure of next to nothing, all cells count.
    """
    same = total = 0
    for (ours, _), (theirs, sure) in zip(answers, reference, strict=True):
        if ours.shape != theirs.shape:
            ours = cv2.resize(ours, theirs.shape[::-1], interpolation=cv2.INTER_NEAREST)
        counted = sure if sure.mean() > _TOO_FEW else np.ones_like(sure)
        same += int(np.count_nonzero((ours == theirs) & counted))
        total += int(np.count_nonzero(counted))
    return same / total


def _reference_first(options: Sequence[EngineCandidate]) -> list[EngineCandidate]:
    def rank(option: EngineCandidate) -> bool:
        return not (option.engine == "onnxruntime" and option.artefact.precision == "float")

    return sorted(options, key=rank)


class _Benchmark:
    """One benchmark of a model's candidates.

    Args:
        model: the network.
        input_size_px: (width, height).
        threads: of one run.
        until_s: time of ``clock`` by which it has to be over.
        clock: of ``until_s``.
        stop: ends it early.
    """

    def __init__(
        self,
        model: Model,
        input_size_px: tuple[int, int],
        threads: int,
        until_s: float,
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        self._model = model
        self._input_size_px = input_size_px
        self._threads = threads
        self._until_s = until_s
        self._clock = clock
        self._stop = stop
        self._reference: Answers | None = None
        self._best: _Runner | None = None
        self._best_process = ExitStack()
        self._runners: dict[EngineCandidate, _Runner] = {}
        self._absent: dict[str, str] = {}
        self._failures: dict[EngineCandidate, Result] = {}

    def add(self, candidate: EngineCandidate) -> None:
        absent = hardware.absence(candidate.engine) or self._absent.get(candidate.engine)
        if absent is not None:
            self._fail(candidate, absent, "absent")
        elif self._left_s() <= 0 or self._stop.is_set():
            self._fail(candidate, "the time was up before its turn; `edgeseg doctor` takes longer")
        else:
            job = WorkerJob(self._model, candidate, self._input_size_px, self._threads)
            with ExitStack() as stack:
                worker = stack.enter_context(BenchmarkWorker(job, self._clock, self._stop))
                if self._wins(candidate, worker):
                    self._best_process.close()
                    self._best_process = stack.pop_all()

    def table(self, options: Sequence[EngineCandidate]) -> Table:
        results = tuple(
            self._result(self._runners[option]) if option in self._runners else self._failures[option]
            for option in options
        )
        best = self._best.candidate if self._best else None
        return Table(results, next((n for n, option in enumerate(options) if option == best), None))

    def close(self) -> None:
        self._best_process.close()

    def _wins(self, candidate: EngineCandidate, worker: BenchmarkWorker) -> bool:
        ready = worker.ready(max(self._left_s(), _SHORTEST_WAIT_S))
        if isinstance(ready, CandidateFailed):
            self._fail(candidate, ready.reason, "absent" if ready.absent else "failed")
            if ready.absent:
                self._absent[candidate.engine] = ready.reason
            return False
        if self._reference is None:
            self._reference = ready.answers
        same = agreement(ready.answers, self._reference)
        runner = _Runner(candidate, worker, ready.device, same)
        bound = least_agreement(candidate)
        if same < bound:
            reason = f"other labels than the reference: {same:.1%} agree, {bound:.0%} must"
            self._fail(candidate, reason, runner=runner)
            return False
        if not self._compare(runner):
            return False
        self._runners[candidate] = runner
        if self._best is not None and runner.cost >= _CLEARLY_FASTER * self._best.cost:
            return False
        self._best = runner
        return True

    def _compare(self, runner: _Runner) -> bool:
        """Run it and the best in turn until it is clear which is faster. Return False where it failed."""
        rival = self._best
        if rival is not None:
            rival.runs.clear()
        until_s = self._clock.monotonic_s() + min(_COMPARISON_S, max(self._left_s(), 0.0))
        for number in range(_MOST_ROUNDS):
            if not self._run_once(runner, number):
                return False
            if rival is not None and not self._run_once(rival, number):
                # The best failed, though it worked before: the candidate that works now replaces it.
                self._best = rival = None
            if number + 1 < _FEWEST_ROUNDS:
                continue
            alone = rival is None
            too_slow = rival is not None and runner.typical_s() > _TOO_SLOW * rival.typical_s()
            if alone or too_slow or self._clock.monotonic_s() >= until_s:
                break
        if rival is not None:
            runner.cost = rival.cost * runner.typical_s() / rival.typical_s()
        return True

    def _run_once(self, runner: _Runner, number: int) -> bool:
        times = runner.process.run(number % picture_count(), max(self._left_s(), _SHORTEST_WAIT_S))
        if isinstance(times, CandidateFailed):
            self._runners.pop(runner.candidate, None)
            self._fail(runner.candidate, times.reason, runner=runner)
            return False
        runner.runs.append(times)
        return True

    def _left_s(self) -> float:
        return self._until_s - self._clock.monotonic_s()

    def _fail(
        self, candidate: EngineCandidate, reason: str, state: State = "failed", runner: _Runner | None = None
    ) -> None:
        same, device = (runner.agreement, runner.device) if runner else (None, "")
        file = candidate.artefact.blob.file
        self._failures[candidate] = Result(
            candidate.engine, file, device, None, None, None, same, state, reason
        )

    def _result(self, runner: _Runner) -> Result:
        assert self._best is not None
        times, chosen = runner.cost / self._best.cost, runner is self._best
        cpu_s, wall_s = (
            float(np.quantile([getattr(run, what) for run in runner.runs], _TYPICAL)) for what in _TIMES
        )
        return Result(
            runner.candidate.engine,
            runner.candidate.artefact.blob.file,
            runner.device,
            1000 * cpu_s,
            1000 * wall_s,
            times,
            runner.agreement,
            "chosen" if chosen else "slower",
            "chosen" if chosen else f"takes {times:.2f} times as long",
        )

"""Label maps that do not flicker where nothing moves, and follow at once where something does."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgeseg.engines.select import open_engine
from edgeseg.frames import U8, Fit, Frame, FrameTime, LabelMap
from edgeseg.models import registry
from edgeseg.sources.open import open_source
from edgeseg.stages import postprocess
from edgeseg.stages.preprocess import Preprocess, make_fit
from edgeseg.stages.smoothing import TemporalSmoother, green, moved

FIT = make_fit("stretch", (64, 48), (64, 48))
GRID = (1, 12, 16)
STILL = np.full((1, 48, 64, 3), 90, np.uint8)


def frame(number: int, views: U8 = STILL, fit: Fit = FIT, interval_s: float = 0.2) -> Frame:
    return Frame("yard", number, views, fit, FrameTime(number * interval_s, 0.0))


def label_map(labels: U8, confidence: int = 200) -> LabelMap:
    return LabelMap(labels, np.full(labels.shape, confidence, np.uint8), FIT)


@settings(deadline=None)
@given(arrays(np.uint8, (8, *GRID), elements=st.integers(0, 2)))
def test_a_still_cell_takes_what_two_analyses_agree_on_and_nothing_else(said: U8) -> None:
    steadier = TemporalSmoother()
    shown = [steadier.smooth(label_map(labels), frame(n)).labels.copy() for n, labels in enumerate(said)]
    assert (shown[0] == said[0]).all()
    for number in range(1, len(said)):
        agreed = (said[number] == said[number - 1]) | (said[number] == shown[number - 1])
        assert (shown[number] == np.where(agreed, said[number], shown[number - 1])).all()


def test_a_change_that_stays_shows_one_analysis_later() -> None:
    steadier, before, after = TemporalSmoother(), np.zeros(GRID, np.uint8), np.ones(GRID, np.uint8)
    shown = [
        int(steadier.smooth(label_map(labels), frame(number)).labels.max())
        for number, labels in enumerate([before, before, after, after])
    ]
    assert shown == [0, 0, 0, 1]


def test_where_something_moves_a_change_shows_at_once_and_only_there() -> None:
    steadier = TemporalSmoother()
    steadier.smooth(label_map(np.zeros(GRID, np.uint8)), frame(0))
    views = STILL.copy()
    views[:, :24, :32] = 140
    shown = steadier.smooth(label_map(np.ones(GRID, np.uint8)), frame(1, views)).labels[0]
    assert shown[:6, :8].all()
    # The cells beside what moved count as moving, two of them with the average over neighbours.
    assert not shown[8:].any()
    assert not shown[:, 10:].any()


def test_what_is_held_keeps_its_confidence() -> None:
    steadier = TemporalSmoother()
    steadier.smooth(label_map(np.zeros(GRID, np.uint8), 200), frame(0))
    held = steadier.smooth(label_map(np.ones(GRID, np.uint8), 90), frame(1))
    assert held.confidence is not None
    assert (held.confidence == 200).all()


@pytest.mark.parametrize("change", ["gap", "fit"])
def test_after_a_gap_or_another_fit_it_begins_anew(change: str) -> None:
    steadier = TemporalSmoother()
    steadier.smooth(label_map(np.zeros(GRID, np.uint8)), frame(0))
    fit = make_fit("stretch", (128, 96), (64, 48)) if change == "fit" else FIT
    later = frame(10 if change == "gap" else 1, fit=fit)
    labels = np.ones(GRID, np.uint8)
    assert steadier.smooth(LabelMap(labels, None, fit), later).labels.all()


def test_the_engines_memory_is_not_kept() -> None:
    steadier, labels = TemporalSmoother(), np.zeros(GRID, np.uint8)
    steadier.smooth(label_map(labels), frame(0))
    labels[:] = 2
    assert not steadier.smooth(label_map(np.ones(GRID, np.uint8)), frame(1)).labels.any()


def flicker(maps: list[U8], still: list[npt.NDArray[np.bool_]]) -> float:
    """Share of the cells where nothing moves that change their class between two analyses."""
    return float(
        np.mean([(one != two)[rest].mean() for (one, two), rest in zip(pairwise(maps), still, strict=True)])
    )


@pytest.mark.parametrize(
    ("name", "clip"),
    [("deeplabv3plus-mnv2-camvid", "car-detection.mp4"), ("deeplabv3-mnv2-pascal", "bottle-detection.mp4")],
)
def test_on_fixed_cameras_it_halves_the_flicker(
    data_dir: Path, pulled_models: Path, monkeypatch: pytest.MonkeyPatch, name: str, clip: str
) -> None:
    monkeypatch.setenv("EDGESEG_CACHE", str(pulled_models))
    model = registry.find(name)
    steadier = TemporalSmoother()
    place = Preprocess("stretch", model.input.size_px)
    engine = open_engine(model, "auto", model.input.size_px, 2)
    said, shown, greens, due_s = [], [], [], 0.0
    with open_source(str(data_dir / "video" / clip)) as source:
        for picture in source:
            if picture.time.camera_time_s < due_s:
                continue
            due_s += 0.2
            fit, views = place(picture)
            answer = postprocess.label_map(engine.run(views), fit, model)
            said.append(answer.labels.copy())
            steady = steadier.smooth(answer, Frame("yard", len(said), views, fit, picture.time))
            shown.append(steady.labels.copy())
            greens.append(green(views, answer.labels.shape))
            if len(said) == 30:
                break
    engine.close()
    still = [~moved(now, then) for then, now in pairwise(greens)]
    assert flicker(said, still) > 0.002, "nothing to steady"
    assert flicker(shown, still) <= 0.5 * flicker(said, still)

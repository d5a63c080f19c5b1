"""The gate passes what moves in or near the zones, and the rest every so often."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgeseg.frames import FrameTime, Picture
from edgeseg.screening.motion import SENSING, MotionMeter
from edgeseg.screening.motion_gate import MotionGate, MotionGateSettings
from edgeseg.settings import GateSettings, RuleSettings, Sensitivity, ZoneSettings
from edgeseg.stages.preprocess import Preprocess

U8 = npt.NDArray[np.uint8]
WIDTH_PX, HEIGHT_PX = 1280, 720
# A textured scene: brightness and noise act on edges too.
SCENE = np.tile(np.linspace(40, 200, 80, dtype=np.float32).repeat(8), (HEIGHT_PX, 2))
LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
SMALL = ((0.1, 0.1), (0.2, 0.1), (0.2, 0.2), (0.1, 0.2))


def zone(*polygons: tuple[tuple[float, float], ...], for_s: float | None = None) -> ZoneSettings:
    rules = () if for_s is None else (rule(for_s),)
    return ZoneSettings("z", "Z", polygons, (), 0.0, rules)


def rule(for_s: float) -> RuleSettings:
    return RuleSettings(
        "r", "occupied", ("a",), ("a",), 0.1, 0.05, None, (), for_s, for_s, 0.0, None, "hold"
    )  # fmt: skip


def picture(luma: npt.NDArray[Any], time_s: float = 0.0) -> Picture:
    y = np.clip(np.round(luma), 0, 255).astype(np.uint8)
    grey = np.full(((y.shape[0] + 1) // 2, (y.shape[1] + 1) // 2), 128, np.uint8)
    return Picture((y, grey, grey), "i420", True, "bt601", FrameTime(time_s, time_s))


def with_square(left_px: int, top_px: int = 300, side_px: int = 64, level: int = 250) -> U8:
    scene: U8 = SCENE.astype(np.uint8)
    scene[top_px : top_px + side_px, left_px : left_px + side_px] = level
    return scene


def moved(
    before: npt.NDArray[Any],
    after: npt.NDArray[Any],
    zones: Sequence[ZoneSettings] = (),
    sensitivity: Sensitivity = "medium",
) -> bool:
    meter = MotionMeter(zones, SENSING[sensitivity])
    reference = meter.shrink(picture(before))
    return meter.moved(meter.shrink(picture(after)), reference)


def test_an_object_is_motion_whether_it_comes_or_goes() -> None:
    assert moved(SCENE, with_square(600))
    assert moved(with_square(600), SCENE)
    assert not moved(SCENE, SCENE)


def test_a_small_object_is_motion_to_a_small_zone_and_none_to_the_whole_picture() -> None:
    """12 x 12 pixels: 0.02 % of the picture, 1.6 % of the zone."""
    speck = with_square(160, top_px=100, side_px=12)
    assert moved(SCENE, speck, [zone(SMALL)])
    assert moved(SCENE, speck, [zone(LEFT_HALF), zone(SMALL)])
    assert not moved(SCENE, speck)


def test_only_what_is_near_a_zone_counts() -> None:
    assert moved(SCENE, with_square(500), [zone(LEFT_HALF)])
    # The margin is 64 px: what approaches is seen before it is there.
    assert moved(SCENE, with_square(660), [zone(LEFT_HALF)])
    assert not moved(SCENE, with_square(800), [zone(LEFT_HALF)])


def test_what_is_excluded_from_a_zone_does_not_count() -> None:
    tree = ((0.3, 0.3), (0.5, 0.3), (0.5, 0.7), (0.3, 0.7))
    without = ZoneSettings("z", "Z", (LEFT_HALF,), (tree,), 0.0, ())
    assert not moved(SCENE, with_square(480, top_px=330, side_px=48), [without])
    assert moved(SCENE, with_square(200), [without])


@pytest.mark.parametrize("change", [SCENE + 15, SCENE - 15, SCENE * 1.08, SCENE * 0.92], ids=str)
def test_light_that_changes_everywhere_is_no_motion(change: npt.NDArray[np.float32]) -> None:
    assert not moved(SCENE, change)
    # It does not hide what moves meanwhile.
    change = change.copy()
    change[300:400, 600:700] = 20
    assert moved(SCENE, change)


def test_a_light_switched_on_is_news() -> None:
    assert moved(SCENE, SCENE + 50)
    # Nor is a vehicle overlooked that fills the zone evenly, or all of the picture.
    lorry = SCENE.copy()
    lorry[:, :640] += 30
    assert moved(SCENE, lorry, [zone(LEFT_HALF)])
    assert moved(np.full_like(SCENE, 90), np.full_like(SCENE, 180))


@pytest.mark.parametrize("sigma", [3, 8, 15])
def test_noise_of_a_sensor_is_no_motion_and_hides_none(sigma: float) -> None:
    noise = np.random.default_rng(7)

    def noisy(scene: npt.NDArray[Any]) -> npt.NDArray[np.floating]:
        return scene + noise.normal(0, sigma, scene.shape)

    for _ in range(5):
        assert not moved(noisy(SCENE), noisy(SCENE))
        assert moved(noisy(SCENE), noisy(with_square(600, side_px=96)))


def test_sensitivity_is_ordered() -> None:
    faint = SCENE.copy()
    faint[300:400, 600:700] += 10
    assert [moved(SCENE, faint, (), word) for word in ("low", "medium", "high")] == [False, False, True]
    clear = SCENE.copy()
    clear[300:400, 600:700] += 18
    assert [moved(SCENE, clear, (), word) for word in ("low", "medium", "high")] == [False, True, True]


def test_rgb_pictures_are_judged_alike() -> None:
    meter = MotionMeter((), SENSING["medium"])

    def rgb(scene: npt.NDArray[Any]) -> Picture:
        return Picture(
            (np.stack([scene.astype(np.uint8)] * 3, axis=2),), "rgb", True, "bt601", FrameTime(0, 0)
        )

    reference = meter.shrink(rgb(SCENE))
    assert not meter.moved(meter.shrink(rgb(SCENE + 3)), reference)
    assert meter.moved(meter.shrink(rgb(with_square(600))), reference)


def gate(refresh_s: float = 5.0, zones: tuple[ZoneSettings, ...] = (), keyframes: bool = True) -> MotionGate:
    return MotionGate(MotionGateSettings(GateSettings(refresh_s, "medium", keyframes), zones))


def look(one: MotionGate, scene: npt.NDArray[Any], time_s: float, number: int | None = None) -> bool:
    """Look at a picture; what passes is analysed at once where it gets a number."""
    passes = one.passes(picture(scene), time_s)
    if passes and number is not None:
        one.mark_handed_over(number)
        one.mark_done(number, analysed=True)
    return passes


def test_the_first_picture_passes_and_then_one_every_refresh() -> None:
    judge = gate(refresh_s=2.0)
    passed = [number for number in range(51) if look(judge, SCENE, number * 0.2, number)]
    assert passed == [0, 10, 20, 30, 40, 50]


def test_what_moves_slowly_adds_up() -> None:
    """Each step changes too little; a comparison with the picture before would never see it."""
    judge, steps = gate(refresh_s=1000.0), range(200)
    scenes = [with_square(300 + step // 2, side_px=200, level=140) for step in steps]
    assert not any(moved(one, two) for one, two in pairwise(scenes))
    passed = [step for step in steps if look(judge, scenes[step], step * 0.2, step)]
    assert len(passed) >= 10
    assert max(np.diff(passed)) <= 40


def test_a_frame_that_nobody_analysed_is_not_what_is_compared_with() -> None:
    judge, there = gate(), with_square(600)
    assert look(judge, SCENE, 0.0, 1)
    # Handed over, still under way: the same again need not be analysed a second time.
    assert look(judge, there, 0.2)
    judge.mark_handed_over(2)
    assert not look(judge, there, 0.4)
    assert judge.reference == 2
    judge.mark_done(2, analysed=False)
    assert look(judge, there, 0.6)
    assert judge.reference == 1
    judge.mark_handed_over(3)
    # Nor did it count for the refresh.
    judge.mark_done(3, analysed=False)
    assert not look(judge, SCENE, 4.8)
    assert look(judge, SCENE, 5.0)


def test_the_newest_frame_under_way_counts_whichever_is_settled_first() -> None:
    judge = gate()
    scenes = [SCENE.astype(np.uint8), with_square(200), with_square(800)]
    for number, scene in enumerate(scenes):
        assert look(judge, scene, number * 0.2)
        judge.mark_handed_over(number)
    judge.mark_done(1, analysed=False)
    judge.mark_done(0, analysed=True)
    assert not look(judge, scenes[2], 0.6)
    judge.mark_done(2, analysed=True)
    assert not look(judge, scenes[2], 0.8)
    assert look(judge, scenes[0], 1.0)


def test_a_wanted_picture_passes_once() -> None:
    judge = gate()
    assert look(judge, SCENE, 0.0, 0)
    judge.request_frame()
    assert look(judge, SCENE, 0.2, 1)
    assert not look(judge, SCENE, 0.4, 2)


def test_another_size_of_picture_passes() -> None:
    judge = gate()
    assert look(judge, SCENE, 0.0, 0)
    assert look(judge, SCENE[:480, :640], 0.2, 1)
    assert not look(judge, SCENE[:480, :640], 0.4, 2)


@pytest.mark.parametrize(
    ("order", "within_s"),
    [
        (MotionGateSettings(GateSettings(5.0, "medium", True), ()), 2.0),
        (MotionGateSettings(GateSettings(1.5, "medium", True), ()), 1.5),
        (MotionGateSettings(GateSettings(5.0, "medium", True), (zone(SMALL, for_s=1.0),)), 0.5),
        (MotionGateSettings(GateSettings(5.0, "medium", True), (zone(SMALL, for_s=0.0),)), 0.0),
        (MotionGateSettings(GateSettings(5.0, "medium", False), ()), 0.0),
    ],
)
def test_how_far_apart_keyframes_may_be(order: MotionGateSettings, within_s: float) -> None:
    assert order.keyframes_within_s == within_s


def test_no_picture_is_allocated_once_it_runs() -> None:
    """Whatever moves or not: what is allocated for one picture is gone before the next, and far smaller
    than the smallest picture here (14 kB)."""
    judge, preprocess = gate(zones=(zone(LEFT_HALF),)), Preprocess("letterbox", (256, 256))
    pictures = [picture(SCENE), picture(SCENE), picture(with_square(200)), picture(with_square(400))]
    fit = preprocess.fit_for((WIDTH_PX, HEIGHT_PX))
    slot = np.empty((1, 256, 256, 3), np.uint8)

    def run(rounds: int) -> int:
        passed = 0
        for number in range(rounds):
            one = pictures[number % 4]
            if judge.passes(one, number * 0.2):
                preprocess.place(one, fit, slot)
                judge.mark_handed_over(number)
                judge.mark_done(number, analysed=True)
                passed += 1
        return passed

    run(8)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        assert run(40) == 30
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 8_000
    assert after - before < 4_000

"""Pictures for people: labels land where the network saw them, whatever the fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edgeseg.drawing import overlay
from edgeseg.drawing.video_writer import VideoWriter, encode_labels
from edgeseg.events import ZoneOccupancy
from edgeseg.frames import Frame, FrameTime, LabelMap
from edgeseg.settings import FitName, RuleSettings, ZoneSettings
from edgeseg.stages.preprocess import make_fit

PALETTE = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0)], np.uint8)
PICTURE = (320, 180)
INPUT = (96, 96)
GRID = 48
KINDS: tuple[FitName, ...] = ("stretch", "letterbox", "tiles")


def labels_of(kind: FitName, columns_from: float) -> LabelMap:
    """Class 1 wherever the camera picture is right of ``columns_from`` (a share of its width)."""
    fit = make_fit(kind, PICTURE, INPUT)
    labels = np.zeros((len(fit.views), GRID, GRID), np.uint8)
    centres = (np.arange(GRID) + 0.5) * INPUT[0] / GRID
    for view, grid in zip(fit.views, labels, strict=True):
        across = view.crop.left + (centres - view.place.left) * view.crop.width / view.place.width
        grid[:, across > columns_from * PICTURE[0]] = 1
    return LabelMap(labels, None, fit)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [PICTURE, (160, 90), (481, 270)])
def test_labels_come_back_to_their_place(kind: FitName, size: tuple[int, int]) -> None:
    labels = overlay.labels_on_picture(labels_of(kind, 0.6), size)
    assert labels.shape == (size[1], size[0])
    border = np.argmax(labels == 1, axis=1)
    assert np.ptp(border) == 0, "one straight border"
    # One grid cell: of a letterboxed or stretched input 1/48 of the picture.
    assert border[0] == pytest.approx(0.6 * size[0], abs=size[0] / GRID)


def test_background_stays_clear_and_borders_are_solid() -> None:
    picture = np.full((96, 96, 3), 200, np.uint8)
    labels = np.zeros((96, 96), np.uint8)
    labels[20:60, 20:60] = 1
    shown = overlay.tint(picture, labels, PALETTE, opacity=0.5)
    assert (shown[labels == 0] == 200).all()
    assert tuple(shown[40, 40]) == (228, 100, 100)
    assert tuple(shown[20, 40]) == (255, 0, 0)
    assert (picture == 200).all(), "the picture itself is not drawn into"


@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_is_put_together_again(kind: FitName) -> None:
    fit = make_fit(kind, PICTURE, INPUT)
    views = np.zeros((len(fit.views), INPUT[1], INPUT[0], 3), np.uint8)
    centres = np.arange(INPUT[0]) + 0.5
    for view, seen in zip(fit.views, views, strict=True):
        across = view.crop.left + (centres - view.place.left) * view.crop.width / view.place.width
        seen[:] = np.clip(across / PICTURE[0] * 255, 0, 255).astype(np.uint8)[None, :, None]
    picture = overlay.picture_of(Frame("yard", 0, views, fit, FrameTime(0.0, 0.0)))
    height, width = picture.shape[:2]
    assert width / height == pytest.approx(PICTURE[0] / PICTURE[1], rel=0.02)
    ramp = np.arange(width) / width * 255
    # Two input pixels of the ramp: nothing is shifted by a tile's overlap or a letterbox's border.
    assert np.abs(picture[height // 2, :, 0] - ramp).max() < 2 * 255 / INPUT[0] * 320 / width + 4


def test_captions_say_what_is_known() -> None:
    outline = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))

    def caption(state: str, coverage: dict[str, float] | None, title: str = "Door") -> str:
        zone = ZoneSettings("door", title, (outline,), (), 0.0, ())
        occupancy = ZoneOccupancy(
            "yard",
            "door",
            1,
            FrameTime(0, 0),
            state,
            "stale",
            coverage,
            0.0,
            None,
            None,
            "m",  # type: ignore[arg-type]
        )
        return overlay.zone_caption(overlay.ZoneDrawing(zone, occupancy, False))

    assert caption("ok", {"background": 0.6, "person": 0.3, "chair": 0.1}) == "Door: person 30 %, chair 10 %"
    assert caption("ok", {"background": 1.0}) == "Door: clear"
    assert caption("ok", {"background": 1.0}, title="Tür") == "door: clear"
    assert caption("unknown", None) == "Door: unknown (stale)"


def test_captions_tell_of_what_the_rules_ask_for() -> None:
    rule = RuleSettings("r", "occupied", ("car",), ("car",), 0.1, 0.05, None, (), 0.0, 0.0, 0.0, None, "hold")
    zone = ZoneSettings("lane", "Lane", (((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)),), (), 0.0, (rule,))
    assert overlay.watched(zone, {"road": 0.8, "car": 0.2, "vehicle": 0.2}) == {"car": 0.2}
    assert overlay.watched(replace(zone, rules=()), {"road": 0.8, "car": 0.2}) == {"road": 0.8, "car": 0.2}


def test_the_grid_is_numbered_in_tenths() -> None:
    picture = np.zeros((200, 300, 3), np.uint8)
    overlay.draw_grid(picture)
    assert (picture[50, 30::30] > 100).all(), "upright lines"
    assert (picture[20::20, 95] > 100).all(), "level lines"
    assert not picture[50, 95].any(), "nothing between them"


def test_text_at_the_border_stays_inside() -> None:
    picture = np.zeros((60, 80, 3), np.uint8)
    overlay.write(picture, "far out", (500, 500))
    assert picture[30:, 20:].any()


def test_a_jpeg_is_one() -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[..., 0] = 250
    decoded = cv2.imdecode(np.frombuffer(overlay.encode_jpeg(picture), np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == (20, 30, 3)
    assert decoded[10, 10, 2] > 230, "red stays red"


def test_label_pngs_hold_class_indices_and_the_palette() -> None:
    labels = np.arange(60).reshape(6, 10).astype(np.uint8) % 3
    png = encode_labels(labels, PALETTE)
    seen = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert (seen == PALETTE[labels]).all()
    assert png[25] == 3, "colour type 3, indexed (PNG specification, 11.2.2)"


def test_a_video_has_its_pictures_at_their_times(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    with VideoWriter(path, 5) as video:
        for index in range(4):
            video.append(np.full((49, 65, 3), 60 * index, np.uint8), index * 0.25)
    with av.open(str(path)) as container:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert [time for time, _ in frames] == pytest.approx([0, 0.25, 0.5, 0.75])
    assert [picture.shape for _, picture in frames] == [(48, 64, 3)] * 4
    assert [round(float(picture.mean()) / 60) for _, picture in frames] == [0, 1, 2, 3]


def test_a_video_without_pictures(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "overlay.mp4", 5):
        pass
    assert list(tmp_path.iterdir()) == []

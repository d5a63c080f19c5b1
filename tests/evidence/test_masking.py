"""Pictures that are kept show nobody, as far as the network sees people, and how far that is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.drawing import overlay
from edgeseg.drawing.snapshot import Snapshot
from edgeseg.engines.base import Engine
from edgeseg.engines.select import open_engine
from edgeseg.evidence.rendering import EvidenceRendering, indices, people_in, with_comment
from edgeseg.frames import U8, Frame, FrameTime, LabelMap, Picture
from edgeseg.models import registry
from edgeseg.models.model import Model
from edgeseg.stages import postprocess
from edgeseg.stages.preprocess import make_fit, place

PEOPLE = ("pedestrian", "bicyclist")
# CamVid's ids of them, which are also this model's.
TRUE_PEOPLE = (9, 10)
# Every sixth of the validation pictures: 17 of 101.
EVERY = 6


@pytest.fixture(scope="module")
def model() -> Model:
    return registry.find("deeplabv3plus-mnv2-camvid")


@pytest.fixture(scope="module")
def engine(model: Model) -> Iterator[Engine]:
    engine = open_engine(model, "onnxruntime", None)
    yield engine
    engine.close()


def shot_of(rgb: U8, model: Model, engine: Engine) -> Snapshot:
    fit = make_fit(model.fit, (rgb.shape[1], rgb.shape[0]), engine.input_size_px)
    time = FrameTime(0.0, 0.0)
    views = place(Picture((rgb,), "rgb", True, "bt601", time), fit)
    label_map = postprocess.label_map(engine.run(views), fit, model)
    return Snapshot(Frame("yard", 1, views, fit, time), label_map)


def opened(jpeg: bytes) -> U8:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1], np.uint8)


def test_people_are_blanked_out_of_real_pictures(data_dir: Path, model: Model, engine: Engine) -> None:
    people = indices(model.classes, PEOPLE)
    develop = EvidenceRendering("masked", model.palette, people)
    seen_px = left_px = true_px = true_left_px = 0
    for file in sorted((data_dir / "camvid" / "val").iterdir())[::EVERY]:
        shot = shot_of(np.ascontiguousarray(cv2.imread(str(file))[..., ::-1]), model, engine)
        masked = opened(develop(shot, "test"))
        size_px = masked.shape[1], masked.shape[0]
        labels = overlay.labels_on_picture(shot.label_map, size_px)
        seen = np.isin(labels, list(people))
        # What was blanked is grey after the JPEG too; eight levels are its ringing along the edges.
        visible = (np.abs(masked.astype(int) - 127) > 8).any(axis=2)
        seen_px += int(seen.sum())
        left_px += int((seen & visible).sum())
        truth = cv2.imread(str(data_dir / "camvid" / "valannot" / f"{file.stem}.png"), cv2.IMREAD_GRAYSCALE)
        true = np.isin(cv2.resize(truth, size_px, interpolation=cv2.INTER_NEAREST), TRUE_PEOPLE)
        true_px += int(true.sum())
        true_left_px += int((true & ~people_in(labels, people)).sum())
    assert seen_px > 100_000
    assert left_px == 0
    # The network misses some: on all 101 pictures .7 % are left, and 7 of 319 people (of 200 pixels or more)
    # are mostly visible. These pictures are of a drive that was trained on: elsewhere it misses more.
    assert true_left_px / true_px < 0.01


def tiny_shot() -> Snapshot:
    """A person of 8 x 8 pixels in the middle of a bright picture, in cells of 4."""
    view = np.full((48, 64, 3), 200, np.uint8)
    labels = np.zeros((12, 16), np.uint8)
    labels[5:7, 7:9] = 1
    fit = make_fit("stretch", (64, 48), (64, 48))
    return Snapshot(Frame("yard", 1, view[None], fit, FrameTime(0.0, 0.0)), LabelMap(labels[None], None, fit))


PALETTE = np.array([(0, 0, 0), (192, 32, 32)], np.uint8)


def test_each_policy_shows_what_it_says() -> None:
    shot = tiny_shot()
    full = opened(EvidenceRendering("full", PALETTE, frozenset({1}))(shot, ""))
    masked = opened(EvidenceRendering("masked", PALETTE, frozenset({1}))(shot, ""))
    labels = opened(EvidenceRendering("labels", PALETTE, frozenset({1}))(shot, ""))
    assert np.abs(full.astype(int) - 200).max() <= 2
    # What JPEG makes of the border to the bright rest is in it too.
    assert np.abs(masked[20:28, 28:36].astype(int) - 127).max() <= 10
    assert np.abs(masked[:12].astype(int) - 200).max() <= 2
    # Nothing of the picture: two colours, but for what JPEG makes of their border.
    assert np.abs(labels[21:27, 29:35].astype(int) - PALETTE[1]).max() <= 12
    assert labels[:12].max() <= 4


def test_the_mask_reaches_around_people() -> None:
    labels = np.zeros((100, 100), np.uint8)
    labels[50, 50] = 1
    mask = people_in(labels, {1}, margin=0.05)
    assert mask[50, 45:56].all()
    assert mask[45:56, 50].all()
    assert not mask[50, 44]
    assert people_in(labels, {2}, margin=0.05).sum() == 0


def test_tiles_are_put_together_before_people_are_blanked_out() -> None:
    fit = make_fit("tiles", (256, 64), (64, 64))
    views = np.full((len(fit.views), 64, 64, 3), 200, np.uint8)
    labels = np.zeros((len(fit.views), 16, 16), np.uint8)
    labels[1:3] = 1
    shot = Snapshot(Frame("yard", 1, views, fit, FrameTime(0.0, 0.0)), LabelMap(labels, None, fit))
    masked = opened(EvidenceRendering("masked", PALETTE, frozenset({1}))(shot, ""))
    across = np.isin(overlay.labels_on_picture(shot.label_map, (masked.shape[1], masked.shape[0])), 1)
    assert across.any()
    assert np.abs(masked[across].astype(int) - 127).max() <= 8


def test_a_picture_says_what_it_is() -> None:
    jpeg = overlay.encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    told = with_comment(jpeg, "camera Höfe")
    assert told.startswith(b"\xff\xd8\xff\xfe")
    assert "camera Höfe".encode() in told
    assert np.array_equal(opened(told), opened(jpeg))

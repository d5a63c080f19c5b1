"""The hand-drawn ground truth agrees with itself and, where the pictures are to be had, with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import missing
from tests.ground_truth import frames, render, tables

SCENES = sorted(render.SCENES.glob("*.json"))
CLIPS = sorted(tables.SIZES_PX)
BOX_CLASSES = {"person", "bicycle", "motorcycle", "car", "bus", "truck"}


@pytest.mark.parametrize("path", SCENES, ids=lambda path: path.stem)
def test_the_label_map_is_what_the_polygons_say(path: Path) -> None:
    scene = render.load_scene(path)
    labels = render.read_labels(path.with_suffix(".png"))
    assert labels.shape == (scene.height_px, scene.width_px)
    assert np.array_equal(labels, render.render(scene))


def test_a_polygon_covers_the_pixels_whose_centres_lie_inside() -> None:
    square = np.array([(2, 1), (5, 1), (5, 4), (2, 4)], np.float64)
    mask = render.inside(square, 8, 6)
    expected = np.zeros((6, 8), np.bool_)
    expected[1:4, 2:5] = True
    assert np.array_equal(mask, expected)


def test_a_label_map_that_differs_is_named_and_rendered_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = tmp_path / "corner.json"
    polygon = {"class": "road", "points": [[0, 0], [4, 0], [4, 4], [0, 4]]}
    header = {"clip": "none", "frame": 0, "size": [8, 8], "training": False}
    scene.write_text(json.dumps(header | {"polygons": [polygon]}), "utf-8")
    assert render.main(["--scenes", str(tmp_path)]) == 0
    assert render.main(["--scenes", str(tmp_path), "--check"]) == 0
    polygon["class"] = "grass"
    scene.write_text(json.dumps(header | {"polygons": [polygon]}), "utf-8")
    assert render.main(["--scenes", str(tmp_path), "--check"]) == 1
    assert "corner.png: differs from corner.json" in capsys.readouterr().out


def test_a_misspelt_class_is_refused(tmp_path: Path) -> None:
    scene = tmp_path / "corner.json"
    header = {"clip": "none", "frame": 0, "size": [8, 8], "training": False}
    polygon = {"class": "gras", "points": [[0, 0], [4, 0], [4, 4]]}
    scene.write_text(json.dumps(header | {"polygons": [polygon]}), "utf-8")
    with pytest.raises(ValueError, match="polygon 0: got class 'gras'"):
        render.load_scene(scene)


def test_twelve_scenes_that_no_training_picture_shares_hold_the_stuff_classes() -> None:
    held_out = [scene for scene in map(render.load_scene, SCENES) if not scene.training]
    assert len(held_out) >= 12
    present = {int(label) for scene in held_out for label in np.unique(render.render(scene))}
    stuff = {"road", "pavement", "floor", "grass", "tree", "building", "wall", "sky", "ground"}
    assert {render.LABELS[name] for name in stuff} <= present
    assert render.LABELS["water"] not in present  # README.md says so.


@pytest.mark.parametrize("clip", CLIPS)
def test_boxes_lie_in_the_picture_on_the_thirty_sampled_frames(clip: str) -> None:
    width_px, height_px = tables.SIZES_PX[clip]
    states = tables.frame_states(clip)
    assert len(states) == 30
    boxed = set()
    for box in tables.boxes(clip):
        assert 0 <= box.x0 < box.x1 <= width_px
        assert 0 <= box.y0 < box.y1 <= height_px
        assert box.name in BOX_CLASSES
        boxed.add(box.frame)
    assert boxed == {frame for frame, state in states.items() if state == "objects"}


@pytest.mark.parametrize("clip", CLIPS)
def test_boxes_and_visits_agree(clip: str) -> None:
    visits = tables.visits(clip)
    for visit in visits:
        assert 0 <= visit.start_frame <= visit.end_frame
        assert visit.start_s <= visit.end_s
    drawn = tables.boxes(clip)
    for frame, state in tables.frame_states(clip).items():
        in_view = [visit for visit in visits if visit.start_frame <= frame <= visit.end_frame]
        here = [box for box in drawn if box.frame == frame]
        if state == "empty":
            assert not in_view, f"frame {frame} is empty, yet visit {in_view[0]} covers it"
        for name in {box.name for box in here}:
            of_class = [visit for visit in in_view if visit.name == name]
            # An object in view may have no box (hidden, a sliver); a box without a visit is a mistake.
            assert len(of_class) >= sum(box.name == name for box in here), f"frame {frame}: {name}"


@pytest.mark.parametrize("path", SCENES, ids=lambda path: path.stem)
def test_the_scene_has_the_size_of_its_picture(path: Path, data_dir: Path) -> None:
    scene = render.load_scene(path)
    found = frames.find_clip(scene.clip, data_dir)
    if found is None:
        missing(f"{scene.clip} (Debian's package opencv-doc, or the test data)")
        return
    picture = frames.read_frames(found, {scene.frame})[scene.frame]
    assert picture.shape == (scene.height_px, scene.width_px, 3)

"""The scenes for cameras: what trains, what judges, labels by agreement, crops with soft targets, scores."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.errors import ModelError

torch = pytest.importorskip("torch", reason="torch is not installed (extra zoo)")
pytest.importorskip("transformers", reason="transformers is not installed (extra zoo)")
pytest.importorskip("onnx_ir", reason="onnx_ir is not installed (extra zoo)")

from edgeseg.zoo import soft_targets  # noqa: E402
from edgeseg.zoo.augment import Augmentation  # noqa: E402
from edgeseg.zoo.camera_look import LOOKS, fisheye  # noqa: E402
from edgeseg.zoo.data import VOID, Sample, index_classes  # noqa: E402
from edgeseg.zoo.label_agreement import agree  # noqa: E402
from edgeseg.zoo.losses import on_grid  # noqa: E402
from edgeseg.zoo.networks.output import Logits  # noqa: E402
from edgeseg.zoo.recipe import Loss, find_recipe, load_recipe  # noqa: E402
from edgeseg.zoo.scene_crops import SceneCrops  # noqa: E402
from edgeseg.zoo.scenes import (  # noqa: E402
    CLASSES,
    PASCAL_ROWS,
    find_scenes,
    held_out_names,
    held_out_samples,
    is_held_out,
    is_judge,
    training_samples,
)
from edgeseg.zoo.scenes_score import Counts  # noqa: E402
from edgeseg.zoo.teachers import Answers, Box, Grouping, suppressed  # noqa: E402

SILENT = len(CLASSES)
PERSON, CAR, TRUCK, ANIMAL, WALL = (
    CLASSES.index(name) for name in ("person", "car", "truck", "animal", "wall")
)


def saying(*regions: tuple[int, slice, float], otherwise: int = SILENT) -> np.ndarray:
    """Probabilities (classes + 1, 40, 60): each region's class in its columns, ``otherwise`` elsewhere."""
    said = np.zeros((SILENT + 1, 40, 60), np.float32)
    said[otherwise] = 1.0
    for label, columns, probability in regions:
        said[:, :, columns] = 0
        said[label, :, columns] = probability
        said[SILENT, :, columns] = 1 - probability
    return said


def box(label: int, left: float, right: float, score: float = 0.8) -> Box:
    return Box(label, score, left, 0, right, 39)


ROOM = saying(otherwise=WALL)
LEFT, MIDDLE = slice(5, 25), slice(10, 20)


def test_the_held_out_list_has_forty_coco_pictures_and_two_clips() -> None:
    names = held_out_names()
    assert len(names) == len(set(names))
    assert sum(name.startswith("coco_") for name in names) == 40
    assert [name for name in names if name.endswith("*")] == ["davis_camel_*", "davis_car-shadow_*"]
    assert is_held_out("davis_camel_00010")
    assert not is_held_out("davis_cows_00010")


def test_what_judges_does_not_train(tmp_path: Path) -> None:
    held = next(name for name in held_out_names() if name.startswith("coco_"))
    picture = np.zeros((8, 8, 3), np.uint8)
    for part, stem in (
        ("labelled", held),
        ("labelled", "coco_trains"),
        ("unlabelled", "vtest_0001"),
        ("unlabelled", "intel_car-detection_0001"),
        ("unlabelled", "intel_classroom_0001"),
        ("unlabelled", "oi_without_labels"),
    ):
        for folder in ("images", "labels"):
            (tmp_path / part / folder).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / part / "images" / f"{stem}.jpg"), picture)
        if stem != "oi_without_labels":
            (tmp_path / "agreed" / part).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "agreed" / part / f"{stem}.png"), picture[..., 0])
            (tmp_path / "agreed" / part / f"{stem}.npz").touch()
    stems = [sample.picture.stem for sample in training_samples(tmp_path, tmp_path / "agreed")]
    assert stems == ["coco_trains", "intel_classroom_0001"]
    assert [sample.picture.stem for sample in held_out_samples(tmp_path)] == [held]
    (tmp_path / "sources.csv").write_text(
        "file,permissive\nlabelled/images/coco_trains.jpg,yes\nunlabelled/images/intel_classroom_0001.jpg,no\n"
    )
    only = find_scenes(tmp_path, tmp_path / "agreed", permissive=True)
    assert [sample.picture.stem for sample in only.train] == ["coco_trains"]
    assert is_judge("intel_one-by-one-person-detection_0007")
    with pytest.raises(ModelError, match="pseudo_label"):
        training_samples(tmp_path, tmp_path / "nothing")


def test_teachers_that_agree_give_objects_and_stuff() -> None:
    seen = saying((PERSON, LEFT, 0.9))
    agreed = agree(Answers(seen, seen, ROOM, [box(PERSON, 5, 25)]), None, whole=False)
    assert (agreed.labels[:, LEFT] == PERSON).all()
    assert (agreed.labels[:, 30:] == WALL).all()
    assert agreed.soft[PERSON, 20, 10] > 0.9
    assert agreed.soft[WALL, 20, 40] > 0.9
    np.testing.assert_allclose(agreed.soft.sum(axis=0), 1.0, atol=1e-4)


def test_a_box_names_the_class_of_a_region() -> None:
    seen = saying((PERSON, LEFT, 0.7))
    agreed = agree(Answers(seen, seen, ROOM, [box(ANIMAL, 5, 25)]), None, whole=False)
    assert (agreed.labels[:, MIDDLE] == ANIMAL).all()
    assert (agreed.known[:, MIDDLE] == 0).all()
    vehicle = saying((CAR, LEFT, 0.7))
    agreed = agree(Answers(vehicle, vehicle, ROOM, [box(TRUCK, 5, 25)]), None, whole=False)
    assert (agreed.labels[:, MIDDLE] == TRUCK).all()
    assert agreed.soft[TRUCK, 20, 15] > agreed.soft[CAR, 20, 15]


def test_a_region_without_a_box_is_not_known_unless_both_are_certain() -> None:
    for probability, expected in ((0.7, VOID), (0.95, ANIMAL)):
        seen = saying((ANIMAL, LEFT, probability))
        agreed = agree(Answers(seen, seen, ROOM, []), None, whole=False)
        assert (agreed.labels[:, MIDDLE] == expected).all()
        assert (agreed.known[:, MIDDLE] == (expected != VOID)).all()


def test_a_box_without_a_region_is_not_stuff() -> None:
    agreed = agree(Answers(saying(), saying(), ROOM, [box(ANIMAL, 5, 25)]), None, whole=False)
    assert (agreed.labels[:, MIDDLE] == VOID).all()
    assert (agreed.labels[:, 30:] == WALL).all()
    scene = saying((PERSON, LEFT, 0.9), otherwise=WALL)
    agreed = agree(Answers(saying(), saying(), scene, [box(PERSON, 5, 25)]), None, whole=False)
    assert (agreed.labels[:, MIDDLE] == PERSON).all()


def test_people_win_over_teachers() -> None:
    human = np.full((40, 60), VOID, np.uint8)
    human[:, 5:15] = ANIMAL
    seen = saying((PERSON, LEFT, 0.9), (PERSON, slice(40, 50), 0.9))
    boxes = [box(PERSON, 5, 25), box(PERSON, 40, 50)]
    one = agree(Answers(seen, seen, ROOM, boxes), human, whole=False)
    assert (one.labels[:, 5:15] == ANIMAL).all()
    # What touches the labelled object is doubtful; a bystander is not.
    assert (one.labels[:, 16:25] == VOID).all()
    assert (one.known[:, 16:25] == 0).all()
    assert (one.labels[:, 40:50] == PERSON).all()
    every = agree(Answers(seen, seen, ROOM, boxes), human, whole=True)
    assert (every.labels[:, 40:50] == VOID).all()


def test_groups_of_a_teacher_add_up() -> None:
    grouped = Grouping({0: -1, 1: ANIMAL, 2: ANIMAL})(
        np.log(np.array([0.5, 0.2, 0.3], np.float32))[:, None, None]
    )
    assert grouped[ANIMAL, 0, 0] == pytest.approx(0.5)
    assert grouped[SILENT, 0, 0] == pytest.approx(0.5)


def test_boxes_of_one_class_that_overlap_leave_the_best() -> None:
    kept = suppressed([box(CAR, 0, 20, 0.5), box(CAR, 1, 20, 0.9), box(TRUCK, 0, 20, 0.4), box(CAR, 40, 60)])
    assert [(one.label, one.score) for one in kept] == [(CAR, 0.9), (CAR, 0.8), (TRUCK, 0.4)]


def test_soft_targets_come_back(tmp_path: Path) -> None:
    soft = np.zeros((20, 16, 24), np.float32)
    soft[3, :, :12], soft[10, :, 12:] = 1, 1
    known = np.ones((16, 24), np.float32)
    known[:8] = 0
    soft_targets.save(tmp_path / "one.npz", soft, known)
    levels, counts = soft_targets.load(tmp_path / "one.npz", 20)
    assert levels.shape == (4, 6, 20)
    assert (levels[:, :3, 3] == 255).all()
    assert (levels[:, 3:, 10] == 255).all()
    assert (counts[:2] == 0).all()
    assert (counts[2:] == 255).all()
    (tmp_path / "other.npz").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"other\.npz"):
        soft_targets.load(tmp_path / "other.npz", 20)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Walls with a bright person; soft targets that say the same, but "car" in the last picture."""
    made = []
    for index in range(4):
        labels = np.full((96, 128), WALL, np.uint8)
        labels[20:76, 20 + 16 * index : 60 + 16 * index] = PERSON
        sample = Sample(
            tmp_path / f"{index}.png", tmp_path / f"{index}_labels.png", tmp_path / f"{index}.npz"
        )
        cv2.imwrite(str(sample.picture), np.repeat(np.where(labels == PERSON, 220, 60)[..., None], 3, 2))
        cv2.imwrite(str(sample.labels), labels)
        soft = np.stack([labels == label for label in range(20)]).astype(np.float32)
        assert sample.soft is not None
        soft_targets.save(sample.soft, soft, np.ones((96, 128), np.float32))
        made.append(sample)
    return made


SCENES = Augmentation(
    crop_px=(96, 64), rare=(PERSON,), aspect=0.3, turned=0.2, small=0.5, fisheye=0.3, camera=1.0, ground=0.2
)


def test_soft_targets_stay_aligned_with_labels(samples: list[Sample]) -> None:
    crops = SceneCrops(samples, index_classes(samples, 20), 20, SCENES)
    random = np.random.default_rng(0)
    same = []
    for index in range(40):
        crop = crops.draw(index % 4, random)
        assert crop.picture.shape == (64, 96, 3)
        assert crop.soft is not None
        assert crop.soft.shape == (16, 24, 21)
        coarse = crop.labels[2::4, 2::4]
        sure = (coarse != VOID) & (crop.soft[..., -1] > 250)
        same.append(crop.soft[..., :20].argmax(axis=2)[sure] == coarse[sure])
    assert np.concatenate(same).mean() > 0.95


def test_crops_of_a_ground_see_it_from_near(samples: list[Sample]) -> None:
    road = CLASSES.index("road")
    for sample in samples:
        assert sample.labels is not None
        labels = np.full((96, 128), WALL, np.uint8)
        labels[20:96, 4:124] = road
        cv2.imwrite(str(sample.labels), labels)
    plain = Augmentation(crop_px=(96, 64), ground=1.0)
    crops = SceneCrops(samples, index_classes(samples, 20), 20, plain)
    random = np.random.default_rng(0)
    drawn = [crops.draw(0, random).labels for _ in range(40)]
    near = [(labels == road).mean() for labels in drawn if (labels == road).any()]
    whole = (76 * 120) / (96 * 128)
    assert np.mean(near) > whole


def test_the_same_chance_draws_the_same_crop(samples: list[Sample]) -> None:
    crops = SceneCrops(samples, index_classes(samples, 20), 20, SCENES)
    first, second = (crops.draw(1, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.picture, second.picture)
    np.testing.assert_array_equal(first.soft, second.soft)
    assert (first.picture != crops.draw(1, np.random.default_rng(6)).picture).any()


@pytest.mark.parametrize("look", [look for _, look in LOOKS], ids=lambda look: look.__name__)
def test_every_look_leaves_size_and_changes_the_picture(look) -> None:  # type: ignore[no-untyped-def]
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    picture = cv2.GaussianBlur(picture, (0, 0), 2)
    for seed in range(8):
        seen = look(picture, np.random.default_rng(seed))
        assert seen.shape == picture.shape
        assert seen.dtype == np.uint8
        assert (seen != picture).any()


def test_a_wide_lens_keeps_the_middle() -> None:
    x, y = fisheye((65, 97), np.random.default_rng(0))
    assert abs(x[32, 48] - 48) < 1
    assert abs(y[32, 48] - 32) < 1
    # Straight lines bend: the corner is seen from farther out than the edge's middle.
    assert x[0, 0] < x[32, 0]


def test_loss_on_the_grid_counts_labels_and_soft_targets() -> None:
    logits = torch.zeros(1, 3, 2, 2, requires_grad=True)
    labels = torch.full((1, 8, 8), VOID)
    labels[0, :4, :4] = 1
    soft = torch.zeros(1, 2, 2, 4, dtype=torch.uint8)
    soft[0, :, :, 2] = 255
    soft[0, 1, 1, 3] = 255
    weights = torch.ones(3)
    hard = on_grid(Logits(logits), labels, soft, weights, Loss(soft=0.0))
    assert hard.item() == pytest.approx(np.log(3), abs=1e-5)
    both = on_grid(Logits(logits), labels, soft, weights, Loss(soft=1.0, soft_labelled=0.5))
    # One of four cells counts.
    assert both.item() == pytest.approx(np.log(3) * 1.25, abs=1e-5)
    both.backward()
    gradient = logits.grad
    assert gradient is not None
    assert float(gradient[0, 2, 1, 1]) < 0 < float(gradient[0, 0, 1, 1])
    assert float(gradient[0, :, 0, 1].abs().max()) == 0


def test_scores_count_objects_outside_labels_as_wrong() -> None:
    truth = np.full((4, 4), VOID, np.uint8)
    truth[0] = PERSON
    predicted = np.full((4, 4), WALL, np.uint8)
    predicted[:2] = PERSON
    counts = Counts()
    counts.add(predicted, truth)
    assert counts.iou()[PERSON] == pytest.approx(0.5)
    assert counts.recall()[PERSON] == 1
    assert counts.object_mean() == pytest.approx(0.5)
    assert np.isnan(counts.iou()[CAR])


def test_bus_and_truck_count_as_one_too() -> None:
    truth = np.full((2, 2), TRUCK, np.uint8)
    counts = Counts()
    counts.add(np.full((2, 2), CLASSES.index("bus"), np.uint8), truth)
    assert counts.iou()[TRUCK] == 0
    assert counts.iou()[len(CLASSES)] == 1


@pytest.mark.parametrize(
    "name",
    ["deeplabv3plus-mnv2-scenes", "icnet-mnv2-scenes", "segformer-b0-scenes", "segformer-b0-scenes-small"],
)
def test_recipes_have_the_classes_for_cameras(name: str) -> None:
    recipe = load_recipe(find_recipe(name))
    assert recipe.classes == CLASSES
    assert len(PASCAL_ROWS) == len(CLASSES)
    assert all(side % 32 == 0 for side in recipe.augmentation.crop_px)

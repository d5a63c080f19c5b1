"""Training: a resumed run equals an uninterrupted one, and mistakes cost one line, not an hour."""

from __future__ import annotations

import csv
import dataclasses
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.cli import main
from edgeseg.errors import EdgesegError, ModelError

torch = pytest.importorskip("torch", reason="torch is not installed (extra zoo)")
pytest.importorskip("transformers", reason="transformers is not installed (extra zoo)")
pytest.importorskip("onnx_ir", reason="onnx_ir is not installed (extra zoo)")
pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra zoo)")

from edgeseg.zoo import average as averaging  # noqa: E402
from edgeseg.zoo import checkpoint, plot, soft_targets  # noqa: E402
from edgeseg.zoo.augment import Augmentation, Crops  # noqa: E402
from edgeseg.zoo.batches import Batches, as_input  # noqa: E402
from edgeseg.zoo.data import Sample, Split, find_split, index_classes, read_picture  # noqa: E402
from edgeseg.zoo.ema import Average  # noqa: E402
from edgeseg.zoo.graph_weights import fill_from_graph  # noqa: E402
from edgeseg.zoo.networks import build  # noqa: E402
from edgeseg.zoo.onnx_session import Session  # noqa: E402
from edgeseg.zoo.recipe import Loss, Recipe, find_recipe, load_recipe  # noqa: E402
from edgeseg.zoo.scenes import CLASSES  # noqa: E402
from edgeseg.zoo.schedule import Budget  # noqa: E402
from edgeseg.zoo.state import load_network, start_from  # noqa: E402
from edgeseg.zoo.train import Training  # noqa: E402
from edgeseg.zoo.validate import predict  # noqa: E402
from tests.conftest import ROOT  # noqa: E402

RECIPE = Recipe(
    network="icnet",
    classes=("ground", "square"),
    steps=4,
    batch=2,
    validate_every=2,
    augmentation=Augmentation(crop_px=(96, 64), rare=(1,)),
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten pictures of a bright square on a dark ground."""
    folder = tmp_path / "data"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for index in range(10):
        labels = np.zeros((64, 96), np.uint8)
        labels[16:48, 4 * index : 4 * index + 40] = 1
        cv2.imwrite(str(folder / "images" / f"{index}.png"), np.repeat(50 + 150 * labels[..., None], 3, 2))
        cv2.imwrite(str(folder / "labels" / f"{index}.png"), labels)
    return folder


def run(data: Path, out: Path, recipe: Recipe = RECIPE, stop_at: str | None = None) -> float:
    """Train; ``stop_at`` interrupts after the report that begins so."""
    stop = threading.Event()

    def report(line: str) -> None:
        if stop_at is not None and line.startswith(stop_at):
            stop.set()

    return Training(recipe, find_split(data), out, Budget(recipe.steps), bf16=False, report=report).run(stop)


def test_a_resumed_run_equals_an_uninterrupted_one(data: Path, tmp_path: Path) -> None:
    best = run(data, tmp_path / "whole")
    run(data, tmp_path / "parts", stop_at="step 2 ")
    assert checkpoint.load(tmp_path / "parts" / "last.pt")["step"] == 2
    assert run(data, tmp_path / "parts") == pytest.approx(best, abs=1e-6)
    whole, parts = (load_network(tmp_path / name / "last.pt")[0].state_dict() for name in ("whole", "parts"))
    for name, tensor in whole.items():
        assert torch.allclose(tensor, parts[name], atol=1e-6), name
    with (tmp_path / "parts" / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4"]
    assert all(0.0 <= float(row["val_miou"]) <= 1.0 for row in rows)


def test_the_best_checkpoint_predicts(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "out")
    network, classes = load_network(tmp_path / "out" / "best.pt")
    assert classes == ("ground", "square")
    picture = read_picture(data / "images" / "0.png")
    for scale in (1.0, 1.5):
        labels = predict(network, picture, scale)
        assert labels.shape == (64, 96)
        assert labels.dtype == np.uint8


def test_a_checkpoint_of_another_recipe(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "out")
    other = Recipe(network="deeplabv3plus", classes=("ground", "square"), steps=4)
    with pytest.raises(
        ModelError, match=r"last\.pt: a checkpoint of icnet, 2 classes, but the recipe is deepl"
    ):
        run(data, tmp_path / "out", other)


def test_no_weights_folder_for_an_initial_file(data: Path, tmp_path: Path) -> None:
    recipe = Recipe(network="icnet", classes=("a", "b"), steps=1, initial="x.npz")
    with pytest.raises(ModelError, match=r"initial is x\.npz; name its folder with --weights"):
        run(data, tmp_path / "out", recipe)


def test_the_command_says_one_line_for_a_missing_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("network: icnet\nclasses: [a, b]\nsteps: 1\n")
    assert command(recipe, tmp_path / "none", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "neither images/ and labels/" in said


def command(recipe: Path, data: Path, out: Path, *more: str) -> int:
    arguments = ["models", "train", str(recipe), "--data", str(data), "--out", str(out)]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return main([*arguments, "--threads", "1", "--fp32", *more])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "network: icnet\nclasses: [ground, square]\nsteps: 2\nbatch: 2\nvalidate_every: 1\n"
        "augmentation: {crop_px: [96, 64], rare: [square]}\n"
    )
    return path


def test_the_command_trains_and_resumes(
    recipe: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert command(recipe, data, out) == 0
    said = capsys.readouterr()
    assert "best validation mIoU" in said.out
    assert "step 2 (" in said.err
    assert sorted(path.name for path in out.iterdir()) == ["best.pt", "curves.csv", "curves.png", "last.pt"]
    # A run that stopped after its last save does these steps again; the curves hold each once.
    stored = checkpoint.load(out / "last.pt")
    checkpoint.save(out / "last.pt", stored | {"step": 1})
    assert command(recipe, data, out, "--steps", "3") == 0
    assert "resumed at step 1" in capsys.readouterr().err
    assert [line.split(",")[0] for line in (out / "curves.csv").read_text().splitlines()] == [
        "step",
        "1",
        "2",
        "3",
    ]


def test_labels_that_are_wrong_are_said_before_anything_is_written(
    recipe: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = data / "labels" / "9.png"
    for labels, said in (
        (np.zeros((32, 96), np.uint8), "9.png: 96 x 32, but 9.png is 96 x 64; label"),
        (np.full((64, 96), 7, np.uint8), "9.png: class 7, but the list has 2"),
        (np.zeros((64, 96, 3), np.uint8), "labels are one 8-bit channel"),
    ):
        cv2.imwrite(str(last), labels)
        assert command(recipe, data, tmp_path / "out") == 2
        line = capsys.readouterr().err
        assert said in line
        assert line.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_a_start_of_another_architecture(
    recipe: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = {
        "network": build("deeplabv3plus", 2).state_dict(),
        "name": "deeplabv3plus",
        "classes": ["a", "b"],
    }
    checkpoint.save(tmp_path / "other.pt", stranger)
    for start in (str(tmp_path / "other.pt"), "deeplabv3plus-mnv2-camvid"):
        assert command(recipe, data, tmp_path / "out", "--start", start) == 2
        said = capsys.readouterr().err
        assert "the weights of deeplabv3plus, but the recipe has `network: icnet`" in said
        assert "write `network: deeplabv3plus` there" in said
    assert command(recipe, data, tmp_path / "out", "--start", "segformer-b0-camvid") == 2
    assert "SegFormer's merged head cannot be taken apart" in capsys.readouterr().err
    assert command(recipe, data, tmp_path / "out", "--start", str(tmp_path / "no.pt")) == 2
    assert "no.pt: cannot be read: No such file or directory\n" in capsys.readouterr().err
    assert command(recipe, data, tmp_path / "out", "--start", "deeplabv3-mnv2-pascal") == 2
    assert "this model has no float ONNX artefact; name a checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_model_that_travels_along_can_be_fine_tuned(data: Path) -> None:
    network = build("deeplabv3plus", 11)
    shipped = ROOT / "models" / "deeplabv3plus-mnv2-camvid" / "float.onnx"
    pictures = [
        cv2.resize(read_picture(path), (160, 96)) for path in sorted((ROOT / "models").glob("*/*.jpg"))
    ]
    x = as_input(pictures)
    fresh = fill_from_graph(network, shipped, x)
    assert {name.split(".")[0] for name in fresh} == {"auxiliary"}
    with torch.inference_mode():
        found = network.eval()(x).main.argmax(dim=1).numpy()
    for picture, labels in zip(pictures, found, strict=True):
        assert (Session(shipped).run(picture[None])["labels"][0] == labels).mean() > 0.995
    other = build("deeplabv3plus", 3)
    assert {name.split(".")[0] for name in fill_from_graph(other, shipped, x)} == {"auxiliary", "classify"}


def test_a_model_that_travels_along_can_teach(
    recipe: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--teacher", "deeplabv3plus-mnv2-camvid", "--steps", "1")
    recipe.write_text(recipe.read_text() + "loss: {distill: 1.0}\n")
    assert command(recipe, data, tmp_path / "out", *more) == 2
    assert "--teacher deeplabv3plus-mnv2-camvid: its classes are sky, building" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    streets = "sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist"
    recipe.write_text(
        recipe.read_text()
        .replace("[ground, square]", f"[{streets}]")
        .replace("rare: [square]", "rare: [car]")
    )
    assert command(recipe, data, tmp_path / "out", *more) == 0


def test_a_disk_that_fills_while_curves_are_written(
    recipe: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert command(recipe, data, out, "--steps", "1") == 0
    curves = (out / "curves.csv").read_text()
    capsys.readouterr()
    with files_of_at_most(len(curves) + 4):
        assert command(recipe, data, out, "--steps", "3") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "curves.csv: cannot be written: File too large; make room" in line
    assert (out / "curves.csv").read_text() == curves
    assert command(recipe, data, out, "--steps", "3") == 0


def test_recipes_are_found_by_name() -> None:
    assert load_recipe(find_recipe("icnet-mnv2-camvid")).network == "icnet"
    with pytest.raises(ModelError, match=r"no recipe 'icnet-mnv2-camvit'.*did you mean 'icnet-mnv2-camvid'"):
        find_recipe("icnet-mnv2-camvit")


def test_a_budget_in_minutes_ends_by_the_clock_and_one_in_steps_by_steps() -> None:
    assert Budget(100, minutes=2.0).progress(step=1000, trained_s=60.0) == 0.5
    assert Budget(100, minutes=2.0).progress(step=0, trained_s=500.0) == 1.0
    assert Budget(100).progress(step=25, trained_s=1e9) == 0.25


def test_the_average_follows_slowly_but_not_at_the_start() -> None:
    network = torch.nn.Linear(1, 1)
    average = Average(network, decay=0.9)
    torch.nn.init.zeros_(average.network.weight)
    torch.nn.init.ones_(network.weight)
    average.follow(network, step=1)
    assert float(average.network.weight) == pytest.approx(1 - 2 / 11)
    torch.nn.init.zeros_(average.network.weight)
    average.follow(network, step=10_000)
    assert float(average.network.weight) == pytest.approx(0.1)


def test_threads_draw_what_no_threads_draw(data: Path) -> None:
    samples = find_split(data).train
    crops = Crops(samples, index_classes(samples, 2), 2, RECIPE.augmentation)
    batches = Batches(crops, len(samples), size=3, seed=7)
    with closing(batches.following(5, workers=0)) as alone, closing(batches.following(5, workers=3)) as ahead:
        for step in range(5, 12):
            one, other = next(alone), next(ahead)
            assert torch.equal(one.pictures, other.pictures), step
            assert torch.equal(one.labels, other.labels), step
            assert one.pictures.shape == (3, 3, 64, 96)


def test_a_student_learns_from_a_teacher_on_pictures_without_labels(data: Path, tmp_path: Path) -> None:
    extra = tmp_path / "unlabelled"
    extra.mkdir()
    cv2.imwrite(str(extra / "a.png"), np.full((64, 96, 3), 120, np.uint8))
    recipe = dataclasses.replace(RECIPE, network="segformer", steps=2, loss=Loss(distill=1.0, imitate=1.0))
    split = find_split(data, unlabelled=[extra])
    assert split.train[-1].labels is None
    teacher = build("deeplabv3plus", 2).eval()
    student = Training(
        recipe, split, tmp_path / "out", Budget(2), teacher=teacher, bf16=False, report=lambda line: None
    )
    student.run(threading.Event())
    torch.manual_seed(recipe.seed)
    before = build("segformer", 2)
    after, _ = load_network(tmp_path / "out" / "last.pt")
    for index in range(3):
        assert not torch.equal(before.hints[index].weight, after.hints[index].weight)


def test_fine_tuning_on_other_classes_keeps_all_but_the_classifiers(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "out")
    network = build("icnet", 5)
    fresh = start_from(network, tmp_path / "out" / "best.pt")
    assert {name.rsplit(".", 1)[0] for name in fresh} == {
        "classify",
        *(f"fuse.{index}.auxiliary" for index in range(3)),
    }
    trained = load_network(tmp_path / "out" / "best.pt")[0]
    assert torch.equal(network.trunk.stem[1].weight, trained.trunk.stem[1].weight)
    with pytest.raises(ModelError, match="weights of icnet, but the recipe has `network: deeplabv3plus`"):
        start_from(build("deeplabv3plus", 5), tmp_path / "out" / "best.pt")


def test_curves_are_drawn(tmp_path: Path) -> None:
    curves = tmp_path / "curves.csv"
    curves.write_text("step,trained_s,loss,val_miou\n100,9,1.5,0.4\n200,18,1.2,0.5\n")
    plot.plot_curves(curves, tmp_path / "curves.svg")
    assert "validation mIoU" in (tmp_path / "curves.svg").read_text()
    curves.write_text("time,speed\n1,2\n")
    with pytest.raises(ModelError, match=r"curves\.csv: not the curves of a training run"):
        plot.plot_curves(curves, tmp_path / "other.svg")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What a full disk looks like to a writer."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_disk_that_fills_leaves_the_earlier_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"network": {}, "step": 1})
    with files_of_at_most(50_000), pytest.raises(EdgesegError, match=r"last\.pt: cannot be written.*intact"):
        checkpoint.save(path, {"network": {"weight": torch.zeros(100_000)}, "step": 2})
    assert checkpoint.load(path)["step"] == 1
    assert [item.name for item in tmp_path.iterdir()] == ["last.pt"]


def test_a_file_that_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match=r"best\.pt: not a readable checkpoint"):
        checkpoint.load(path)
    torch.save({"something": 1}, path)
    with pytest.raises(ModelError, match="no network weights inside"):
        checkpoint.load(path)


@pytest.mark.parametrize("network", ["deeplabv3plus_pooled", "icnet", "segformer"])
def test_a_run_on_the_scenes_resumes_as_if_it_had_not_stopped(network: str, tmp_path: Path) -> None:
    split = scenes_of(tmp_path)
    recipe = dataclasses.replace(
        RECIPE,
        network=network,
        classes=CLASSES,
        augmentation=Augmentation(crop_px=(96, 64), rare=(1,), camera=1.0, small=0.5),
        loss=Loss(soft=1.0, soft_labelled=0.3),
        shares={"b": 2.0},
        keep_every=1,
    )

    def train(out: Path, stop_at: str | None = None) -> float:
        stop = threading.Event()

        def report(line: str) -> None:
            if stop_at is not None and line.startswith(stop_at):
                stop.set()

        budget = Budget(recipe.steps)
        training = Training(recipe, split, out, budget, scenes=True, bf16=False, report=report)
        return training.run(stop)

    best = train(tmp_path / "whole")
    train(tmp_path / "parts", stop_at="step 2 ")
    assert checkpoint.load(tmp_path / "parts" / "last.pt")["step"] == 2
    assert train(tmp_path / "parts") == pytest.approx(best, abs=1e-6)
    assert (tmp_path / "whole" / "average-000004.pt").is_file()


def test_checkpoints_are_averaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / f"{value}.pt" for value in (1, 4)]
    for value, path in zip((1.0, 4.0), paths, strict=True):
        weights = {"weight": torch.full((2,), value), "count": torch.tensor(7)}
        checkpoint.save(path, {"network": weights, "name": "icnet", "classes": ["a"], "step": value})
    assert averaging.main([str(path) for path in paths] + ["--out", str(tmp_path / "mean.pt")]) == 0
    mean = checkpoint.load(tmp_path / "mean.pt")
    assert mean["network"]["weight"].tolist() == [2.5, 2.5]
    assert mean["network"]["count"].item() == 7
    other = {"network": {}, "name": "segformer", "classes": ["a"]}
    checkpoint.save(tmp_path / "other.pt", other)
    assert averaging.main([str(tmp_path / "other.pt"), str(paths[0]), "--out", str(tmp_path / "no.pt")]) == 2
    assert "other.pt: another network" in capsys.readouterr().err
    assert not (tmp_path / "no.pt").exists()


@pytest.mark.parametrize("network", ["icnet", "segformer"])
def test_a_network_without_norms_teaches_others(network: str, tmp_path: Path) -> None:
    recipe = dataclasses.replace(
        RECIPE,
        network=network,
        classes=CLASSES,
        augmentation=Augmentation(crop_px=(96, 64), rare=(1,)),
        loss=Loss(soft=1.0, distill=1.0, imitate=1.0 if network == "segformer" else 0.0),
    )
    torch.manual_seed(1)
    teacher = build("deeplabv3plus_pooled", len(CLASSES)).eval()
    losses = {}
    for taught in (teacher, None):
        out = tmp_path / str(taught is None)
        split = scenes_of(tmp_path)
        Training(
            recipe,
            split,
            out,
            Budget(recipe.steps),
            teacher=taught,
            scenes=True,
            bf16=False,
            report=lambda _: None,
        ).run(threading.Event())
        losses[taught is None] = float(list(csv.reader((out / "curves.csv").read_text().splitlines()))[1][2])
    assert losses[False] > losses[True]


def scenes_of(folder: Path) -> Split:
    """Six pictures of a bright person before a dark wall, with soft targets; two of them validate."""
    samples = []
    for index in range(6):
        labels = np.full((64, 96), CLASSES.index("wall"), np.uint8)
        labels[8:56, 4 * index : 4 * index + 40] = CLASSES.index("person")
        sample = Sample(
            *(folder / f"{'ab'[index % 2]}{index}{end}" for end in (".png", "_labels.png", ".npz"))
        )
        cv2.imwrite(str(sample.picture), np.repeat(np.where(labels == 1, 220, 50)[..., None], 3, 2))
        cv2.imwrite(str(sample.labels), labels)
        assert sample.soft is not None
        soft = np.stack([labels == label for label in range(len(CLASSES))]).astype(np.float32)
        soft_targets.save(sample.soft, soft, np.ones(labels.shape, np.float32))
        samples.append(sample)
    return Split(tuple(samples[:4]), tuple(samples[4:]))

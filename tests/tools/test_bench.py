"""The bench's arithmetic, and that tiny runs complete; how fast anything is, is no matter of tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import jsonschema
import pytest

from edgeseg.cli import main
from edgeseg.errors import EdgesegError
from edgeseg.stages.preprocess import make_fit
from edgeseg.tools.bench import capacity, clips, compare, plot, scaling, workload
from edgeseg.tools.bench.live_cameras import SteadyState
from edgeseg.tools.bench.naive import naive, tutorial
from edgeseg.tools.bench.schema import JSON_SCHEMA
from edgeseg.tools.bench.statistics import Bar, Figure, Spread, growth_exponent, ratios
from edgeseg.tools.bench.stopwatch import Stages, interleaved
from tests.support.rtsp_fixtures import require_rtsp_server
from tests.support.tiny_models import CLASSES, Convention, write_model, write_onnx

# As the bench's own networks are: pixels / 127.5 - 1.
NORMALISED = {"scale": 127.5, "mean": (1.0, 1.0, 1.0)}
WHOLE = {"whole": [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in deploy form with the float graph of other ways beside it."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    names = {"labels": "labels", "confidence": "confidence"}
    deploy = Convention(form="deploy", layout="nhwc", dtype="uint8", output_names=names)
    write_model(folder, deploy)
    write_onnx(folder / "naive.onnx", Convention(**NORMALISED))
    return folder


@pytest.fixture(scope="module")
def cache(tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EDGESEG_CACHE with the tiny clip in the place of the large ones, which take long to make."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "bench").mkdir()
    for path in astuple(clips.paths(tiny_clip, folder / "bench")):
        shutil.copy(tiny_clip, path)
    return folder


def test_spread() -> None:
    assert Spread.of([4.0, 1.0, 2.0, 3.0, 100.0]) == Spread(3.0, 2.0, 4.0, 5)
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0, 1)
    with pytest.raises(ValueError, match="no samples"):
        Spread.of([])


@pytest.mark.parametrize(
    ("bar", "value", "verdict"),
    [
        (Bar("at least", 10.0), 10.0, "pass"),
        (Bar("at least", 10.0), 9.99, "short"),
        (Bar("at most", 0.3), 0.3, "pass"),
        (Bar("at most", 0.3), 0.31, "short"),
        (None, 1.0, None),
    ],
)
def test_verdict(bar: Bar | None, value: float, verdict: str | None) -> None:
    figure = Figure("s", "w", "x", Spread.of([value]), bar)
    assert figure.verdict == verdict
    assert figure.as_json()["verdict"] == verdict


def test_ratios_are_taken_round_by_round() -> None:
    # The second round was twice as slow for both: its ratio is the same.
    assert ratios([10.0, 20.0], [5.0, 10.0]) == Spread(2.0, 2.0, 2.0, 2)
    with pytest.raises(ValueError, match=r"longer|shorter"):
        ratios([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("cost", "low", "high"),
    [
        (lambda n: 3.0 * n, 0.999, 1.001),
        (lambda n: 5.0 + 3.0 * n, 0.8, 1.0),
        (lambda n: 0.01 * n**2 + n, 1.15, 2.0),
        (lambda n: 7.0, -0.001, 0.001),
    ],
    ids=["linear", "fixed and linear", "with a square", "fixed"],
)
def test_growth_exponent(cost: Callable[[int], float], low: float, high: float) -> None:
    assert low <= growth_exponent({size: cost(size) for size in (1, 2, 4, 8, 16, 32, 64, 128, 256)}) <= high


def test_interleaved_takes_turns() -> None:
    called: list[str] = []
    works = {name: lambda name=name: called.append(name) for name in "ab"}
    costs = interleaved(works, rounds=3, slice_s=0.0)
    assert {name: len(spent) for name, spent in costs.items()} == {"a": 3, "b": 3}
    # Two calls each to find out how long one takes; then one to warm up and one that counts, in turns.
    assert "".join(called) == "aabb" + "aabb" * 3


def test_stages_give_the_threads_cpu_to_the_one_that_has_threads() -> None:
    stages = Stages(threaded="infer")
    with stages.frame():
        with stages.of("infer"):
            pass
        with stages.of("zones"):
            sum(range(200_000))
        # Not in any stage: as the threads of a runtime that have not finished.
        sum(range(400_000))
    assert stages.costs["zones"][0].cpu_ms > 0
    assert stages.costs["infer"][0].cpu_ms > stages.costs["zones"][0].cpu_ms


@pytest.mark.parametrize("holds", [1, 3, 5, 8, 20])
@pytest.mark.parametrize("start", [0, 2, 5, 100])
def test_search_finds_the_most_that_is_held(holds: int, start: int) -> None:
    tried: list[int] = []

    def trial(cameras: int) -> SteadyState:
        tried.append(cameras)
        if cameras > 30:
            raise EdgesegError("the daemon was not up in time")
        fps = 5.0 if cameras <= holds else 4.0
        return SteadyState(cameras, 10.0, (fps,) * cameras, 0.4 * cameras, 100.0, (100.0,))

    cameras, load = capacity.search(trial, trial(1), start)
    assert (cameras, load.cameras) == (holds, holds)
    assert len(tried) == len(set(tried))


def test_late_frames_do_not_count_as_held() -> None:
    ages = (100.0,) * 90 + (900.0,) * 10
    assert not capacity.held(SteadyState(1, 10.0, (5.0,), 0.5, 100.0, ages), alone_fps=5.0)
    assert capacity.held(SteadyState(1, 10.0, (5.0,), 0.5, 100.0, ages[:90]), alone_fps=5.0)


def test_the_work_is_fixed_and_edgeseg_reads_it(network: Path, tmp_path: Path) -> None:
    assert workload.polygons() == workload.polygons()
    assert list(workload.polygons(300).values())[:16] == list(workload.polygons().values())
    model = workload.network(str(network)).model
    for gate in (False, True):
        text = workload.pipeline_text(model, ["a.mp4", "b.mp4"], gate=gate, engine="onnxruntime")
        cameras = workload.settings(tmp_path, text).cameras
        assert [len(camera.zones) for camera in cameras] == [workload.ZONES] * 2
        assert (cameras[0].gate is not None) == gate
    labels = workload.label_map(150, (128, 128), make_fit("stretch", (64, 48), (64, 48))).labels
    assert labels.max() < 150


def test_without_the_networks_of_the_bench_it_is_said_how_to_make_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path))
    with pytest.raises(EdgesegError, match=r"python -m edgeseg\.zoo\.workloads") as raised:
        workload.network(workload.SEGFORMER)
    assert "did you mean" not in str(raised.value)
    with pytest.raises(EdgesegError, match=r"did you mean 'segformer-b0-camvid'\?$"):
        workload.network("segformer-b0-camvit")


def test_other_ways_measure_the_same(network: Path, tiny_clip: Path) -> None:
    """A grey square of 16 x 16 of 64 x 48 pixels, which the tiny network takes for one of three colours."""
    arguments = (str(tiny_clip), str(network / "naive.onnx"), len(CLASSES), (64, 48), WHOLE)
    for way in (naive, tutorial):
        shares = next(way(*arguments))["whole"]
        assert sum(shares.values()) == pytest.approx(1.0)
        # Compression and enlarging blur an edge of 64 pixels: half a cell of 4 of them on either side.
        assert shares[0] == pytest.approx(1 - 16 * 16 / (64 * 48), abs=64 * 2 / (64 * 48)), way.__name__


def test_a_tiny_run(
    network: Path, cache: Path, tiny_clip: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("EDGESEG_CACHE", str(cache))
    parts = ["inference", "stages", "comparison"]
    arguments = ["--models", str(network), "--clip", str(tiny_clip), "--out", str(tmp_path), "--rounds", "2"]
    # With a Python that has no model_api, whatever is installed here.
    code = main(["bench", "--quick", *arguments, "--peer-python", "/bin/false", "--parts", *parts, "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert code == 0
    assert printed == json.loads((tmp_path / "bench.json").read_text())
    jsonschema.validate(printed, JSON_SCHEMA)
    assert {figure["section"] for figure in printed["figures"]} == set(parts)
    compared = {figure["what"] for figure in printed["figures"] if figure["unit"] == "x"}
    assert f"tiny: {compare.NAMES['naive']} / edgeseg" in compared
    assert f"tiny: {compare.NAMES['tutorial']} / edgeseg" in compared
    assert any(compare.NAMES["model_api"] in note and "absent" in note for note in printed["notes"])
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_a_tiny_run_of_cameras(
    network: Path, cache: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_rtsp_server()
    from edgeseg.tools.bench import live_cameras

    monkeypatch.setenv("EDGESEG_CACHE", str(cache))
    model = workload.network(str(network)).model
    with live_cameras.rtsp(tiny_clip, tmp_path) as url:
        load = live_cameras.run(model, [url, url], 2.0, engine="onnxruntime", warm_up_s=0.5)
    assert load.cameras == len(load.fps) == 2
    # Two seconds at 5 frames a second, on a machine that may be busy.
    assert min(load.fps) > 1
    assert 20 < load.pss_mb < 1000
    assert 0 < load.cpu < 16
    assert 0 <= load.age_ms(50) <= load.age_ms(95) < 10_000


def test_growth(network: Path, tmp_path: Path) -> None:
    model, counts = workload.network(str(network)).model, (2, 4, 6, 8)
    curves = [
        scaling.zones(1, lambda: None, counts),
        *scaling.classes(model, 1, lambda: None, counts),
        scaling.cameras(model, 1, lambda: None, counts),
    ]
    for curve in curves:
        assert tuple(curve.costs) == counts
        assert min(curve.costs.values()) > 0
        assert curve.figure.bar is not None
    plot.growth(curves, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_sizes(tmp_path: Path, tiny_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Labelled pictures that the tiny network knows all about."""
    import cv2
    import numpy as np

    from tests.support.tiny_models import expected_labels, picture

    folder = tmp_path / "tiny"
    write_model(folder, Convention(multiple_of=4))
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    (data / "labels").mkdir()
    cv2.imwrite(str(data / "images" / "one.png"), picture()[..., ::-1])
    labels = np.kron(expected_labels(), np.ones((4, 4), np.uint8))
    cv2.imwrite(str(data / "labels" / "one.png"), labels)
    arguments = ["--models", str(folder), "--data", str(data), "--sizes", "64x48", "32x24", "--rounds", "1"]
    assert main(["bench", "sizes", *arguments, "--out", str(tmp_path / "out")]) == 0
    answer = json.loads((tmp_path / "out" / "sizes.json").read_text())
    jsonschema.validate(answer, JSON_SCHEMA)
    by_size = {point["input"]: point["mean_iou"] for point in answer["points"]}
    assert by_size["64x48"] == 1.0
    assert by_size["32x24"] <= 1.0
    assert (tmp_path / "out" / "sizes.png").is_file()

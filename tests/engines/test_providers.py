"""onnxruntime's execution providers: what we tell them, and what we say where one is not to be had."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest

from edgeseg.engines import open_engine, providers
from edgeseg.engines.hardware import nvidia_gpus
from edgeseg.engines.select import adapter
from edgeseg.errors import EngineError
from edgeseg.models import registry
from edgeseg.models.model import Artefact
from edgeseg.models.runtimes import ENGINES
from tests.support.engine_cases import tiny

OTHERS = ("cuda", "tensorrt", "onnxruntime-openvino")


@pytest.fixture
def artefact() -> Artefact:
    """The shipped network's float file: any size, pictures uint8 NHWC."""
    return next(
        one for one in registry.find("deeplabv3plus-mnv2-camvid").artefacts if one.precision == "float"
    )


@pytest.mark.parametrize("name", OTHERS)
def test_a_provider_that_this_onnxruntime_lacks(name: str, tmp_path: Path) -> None:
    provider = providers.NAMES[name]
    if provider in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has {provider}")
    with pytest.raises(EngineError) as caught:
        open_engine(tiny("onnx-nchw-float-logits", tmp_path), name)
    assert f"engine {name} is not installed; install it with {ENGINES[name].install}" in str(caught.value)
    assert "\n" not in str(caught.value)
    # A build that goes by the right name and lacks it all the same.
    assert f"this onnxruntime {onnxruntime.__version__} has no {provider}" in str(adapter(name).absent(name))


def test_tensorrt_builds_for_the_one_size_that_comes(artefact: Artefact, tmp_path: Path) -> None:
    found = providers.tensorrt_options(artefact, (512, 288), tmp_path)
    assert found["trt_profile_min_shapes"] == found["trt_profile_max_shapes"] == "pictures:1x288x512x3"
    assert (found["trt_engine_cache_enable"], found["trt_engine_cache_path"]) == ("1", str(tmp_path))
    assert (found["trt_fp16_enable"], found["trt_int8_enable"]) == ("1", "0")
    quantized = providers.tensorrt_options(replace(artefact, precision="int8"), (512, 288), None)
    assert quantized["trt_int8_enable"] == "1"
    assert "trt_engine_cache_enable" not in quantized
    fixed = replace(artefact, input=replace(artefact.input, multiple_of=None))
    assert "trt_profile_opt_shapes" not in providers.tensorrt_options(fixed, (736, 544), None)
    planar = replace(artefact, input=replace(artefact.input, layout="nchw"))
    assert (
        providers.tensorrt_options(planar, (64, 32), None)["trt_profile_opt_shapes"] == "pictures:1x3x32x64"
    )


def test_options_are_what_onnxruntime_takes(artefact: Artefact, tmp_path: Path) -> None:
    """Its interface wants text for keys and values alike."""
    for found in (
        providers.cuda_options(),
        providers.tensorrt_options(artefact, (512, 288), tmp_path),
        providers.openvino_options(2, 4),
    ):
        assert all(isinstance(text, str) for pair in found.items() for text in pair)
    assert providers.openvino_options(2, 4)["num_of_threads"] == "8"
    assert providers.options("onnxruntime", artefact, (512, 288), 1) == {}


def test_a_built_engine_is_kept_for_its_network_version_and_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path))
    sha256 = "9ff3c49fd2f262fe7cceac26fed7731632b9cf8ffe327e4a53ad2d7b8b01b37f"
    folder = providers.tensorrt_folder(sha256, "10.3.0", "NVIDIA Jetson Orin Nano (8GB)")
    assert folder == tmp_path / "tensorrt" / "9ff3c49fd2f262fe-trt10.3.0-nvidia-jetson-orin-nano-8gb"
    others = {
        providers.tensorrt_folder(sha256[::-1], "10.3.0", "NVIDIA Jetson Orin Nano (8GB)"),
        providers.tensorrt_folder(sha256, "10.4.0", "NVIDIA Jetson Orin Nano (8GB)"),
        providers.tensorrt_folder(sha256, "10.3.0", "NVIDIA T4"),
    }
    assert len(others) == 3
    assert folder not in others


@pytest.mark.parametrize(("number", "version"), [(100300, "10.3.0"), (8602, "8.6.2"), (110100, "11.1.0")])
def test_tensorrt_tells_its_version(
    number: int, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) for the stand-in")
    source, library = tmp_path / "nvinfer.c", tmp_path / f"libnvinfer-{number}.so"
    source.write_text(f"int getInferLibVersion(void) {{ return {number}; }}")
    subprocess.run([compiler, "-shared", "-fPIC", str(source), "-o", str(library)], check=True, timeout=280)
    assert providers.tensorrt_version((str(tmp_path / "none.so"), str(library))) == version


def test_a_machine_without_tensorrt_has_no_version(tmp_path: Path) -> None:
    assert providers.tensorrt_version((str(tmp_path / "none.so"),)) is None


def test_gpus_are_found_where_the_driver_shows_them(tmp_path: Path) -> None:
    assert nvidia_gpus(tmp_path) == ()
    board = tmp_path / "proc/device-tree/model"
    board.parent.mkdir(parents=True)
    board.write_text("NVIDIA Jetson Orin Nano\0")
    # A board is no GPU yet: its driver has to be there.
    assert nvidia_gpus(tmp_path) == ()
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvhost-gpu").touch()
    assert nvidia_gpus(tmp_path) == ("NVIDIA Jetson Orin Nano",)
    card = tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0/information"
    card.parent.mkdir(parents=True)
    card.write_text("Model: \t\t NVIDIA T4\nIRQ:   \t\t 16\n")
    assert nvidia_gpus(tmp_path) == ("NVIDIA T4",)

"""The exported model repository: read back by Triton's own message types, held against the graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from edgeseg.cli import main
from edgeseg.models import registry
from tests.support.tiny_models import Convention, write_model

DEPLOYED = "deeplabv3plus-mnv2-camvid"


def export(into: Path, *arguments: str) -> Any:
    assert main(["models", "export-triton", *arguments, "--into", str(into)]) == 0
    (folder,) = [path for path in into.iterdir() if path.is_dir()]
    config = text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    assert config.name == folder.name
    return folder, config


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt"])
def test_a_network_that_takes_several_pictures_is_batched(backend: str, tmp_path: Path) -> None:
    folder, config = export(
        tmp_path, DEPLOYED, "--backend", backend, "--input", "480x384", "--instances", "2"
    )
    model = registry.find(DEPLOYED)
    assert (config.backend, config.max_batch_size) == (backend, 8)
    (entry,) = config.input
    # Triton's dims leave the batch out.
    assert (entry.name, entry.data_type, list(entry.dims)) == (
        "pictures",
        model_config_pb2.TYPE_UINT8,
        [384, 480, 3],
    )
    assert {(one.name, tuple(one.dims)) for one in config.output} == {
        ("labels", (-1, -1)),
        ("confidence", (-1, -1)),
    }
    (group,) = config.instance_group
    on_gpu = backend == "tensorrt"
    assert (group.count, group.kind) == (2, group.KIND_GPU if on_gpu else group.KIND_CPU)
    assert config.dynamic_batching.max_queue_delay_microseconds == 5000
    assert 0 < config.dynamic_batching.default_queue_policy.max_queue_size <= 32
    assert config.parameters["classes"].string_value == ",".join(model.classes)
    wanted = next(
        one
        for one in model.artefacts
        if one.format == "onnx" and one.precision == ("float" if on_gpu else "int8")
    )
    assert (folder / "1" / "model.onnx").stat().st_size == wanted.blob.bytes
    if on_gpu:
        script = (folder / "build.sh").read_text()
        assert "--maxShapes=pictures:8x384x480x3" in script
        assert config.default_model_filename == "model.plan"
    else:
        assert config.default_model_filename == "model.onnx"
        listed = json.loads((tmp_path / "config.json").read_text())["model_config_list"]
        assert listed == [{"config": {"name": DEPLOYED, "base_path": f"/models/{DEPLOYED}"}}]


def test_a_graph_for_one_picture_is_served_one_at_a_time(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "tiny", Convention())
    _, config = export(tmp_path / "into", str(folder))
    assert (config.max_batch_size, list(config.input[0].dims)) == (0, [1, 3, 48, 64])
    assert not config.HasField("dynamic_batching")
    assert config.input[0].data_type == model_config_pb2.TYPE_FP32


def test_a_second_model_comes_beside_the_first(tmp_path: Path) -> None:
    for name in ("one", "two"):
        into = str(tmp_path / "into")
        assert (
            main(["models", "export-triton", str(write_model(tmp_path / name, Convention())), "--into", into])
            == 0
        )
    listed = json.loads((tmp_path / "into" / "config.json").read_text())["model_config_list"]
    assert [one["config"]["name"] for one in listed] == ["one", "two"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([DEPLOYED, "--input", "100x100"], "--input: "),
        ([DEPLOYED, "--instances", "0"], "--instances: got 0"),
        (["deeplabv3-mnv2-pascal"], "backend onnxruntime reads onnx"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "export-triton", *arguments, "--into", str(tmp_path / "into")]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "into").exists()

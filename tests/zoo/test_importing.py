"""Checkpoints in transformers' format, made small here and saved as public ones are."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.errors import ModelError
from edgeseg.frames import U8

torch = pytest.importorskip("torch", reason="torch is not installed (extra zoo)")
transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra zoo)")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra zoo)")

from edgeseg.zoo import importing  # noqa: E402
from edgeseg.zoo.onnx_session import Session  # noqa: E402

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "do_normalize": True}
NAMES = {0: "Road, Street", 1: "car", 2: "car", 3: "traffic-light"}


@pytest.fixture(scope="module")
def pictures() -> list[U8]:
    random = np.random.default_rng(3)
    small = random.integers(0, 256, (2, 6, 8, 3), np.uint8)
    return [np.asarray(cv2.resize(one, (320, 240), interpolation=cv2.INTER_CUBIC), np.uint8) for one in small]


def save_segformer(folder: Path) -> Path:
    torch.manual_seed(4)
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 24, 32],
        decoder_hidden_size=32,
        num_labels=4,
        id2label=NAMES,
    )
    network = transformers.SegformerForSemanticSegmentation(config)
    torch.nn.init.normal_(network.decode_head.classifier.weight)
    network.save_pretrained(folder)
    (folder / importing.PREPROCESSOR).write_text(json.dumps(IMAGENET))
    return folder


def test_a_segformer_checkpoint_becomes_a_deploy_graph(tmp_path: Path, pictures: list[U8]) -> None:
    imported = importing.read(save_segformer(tmp_path))
    assert imported.classes == ("road_street", "car", "car_2", "traffic-light")
    assert imported.normalisation.scale == pytest.approx(255.0)
    assert imported.normalisation.mean == (0.485, 0.456, 0.406)
    # Checked against torch inside; here that it answers, with the merged head, at another size.
    graph = importing.to_deploy(imported, pictures)
    assert sum(node.op_type == "Resize" for node in graph.graph) == 3
    assert Session(graph).run(np.zeros((1, 64, 160, 3), np.uint8))["labels"].shape == (1, 16, 40)


def test_a_mobilenet_deeplab_checkpoint_becomes_a_deploy_graph(tmp_path: Path, pictures: list[U8]) -> None:
    torch.manual_seed(5)
    config = transformers.MobileNetV2Config(
        num_labels=3,
        depth_multiplier=0.35,
        output_stride=16,
        tf_padding=True,
        id2label={0: "a", 1: "b", 2: "c"},
    )
    network = transformers.MobileNetV2ForSemanticSegmentation(config).eval()
    torch.nn.init.normal_(network.segmentation_head.classifier.convolution.weight)
    network.save_pretrained(tmp_path)
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "rescale_factor": 1 / 255}
    (tmp_path / importing.PREPROCESSOR).write_text(json.dumps(half))
    imported = importing.read(tmp_path)
    x = torch.randn(1, 3, 96, 128)
    with torch.inference_mode():
        assert torch.allclose(imported.network(x).main, network(x).logits, atol=1e-5)
    graph = importing.to_deploy(imported, pictures)
    assert Session(graph).run(np.zeros((1, 64, 160, 3), np.uint8))["labels"].shape == (1, 4, 10)


def test_another_architecture(tmp_path: Path) -> None:
    transformers.BertConfig(architectures=["BertModel"]).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="BertModel, expected SegformerForSemanticSegmentation or"):
        importing.read(tmp_path)


def test_a_folder_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no readable config\.json"):
        importing.read(tmp_path)


def test_weights_that_are_missing(tmp_path: Path) -> None:
    save_segformer(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="weights cannot be loaded"):
        importing.read(tmp_path)


def test_normalisation_is_never_guessed(tmp_path: Path) -> None:
    save_segformer(tmp_path)
    (tmp_path / importing.PREPROCESSOR).unlink()
    with pytest.raises(ModelError, match=r"preprocessor_config\.json: no readable image_mean"):
        importing.read(tmp_path)

"""Exported graphs answer what torch answers, at several sizes; SegFormer's head is merged exactly."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.errors import ModelError
from edgeseg.frames import U8

torch = pytest.importorskip("torch", reason="torch is not installed (extra zoo)")
transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra zoo)")
ir = pytest.importorskip("onnx_ir", reason="onnx-ir is not installed (extra zoo)")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra zoo)")

from edgeseg.zoo import agreement, export, segformer_head, surgery  # noqa: E402
from edgeseg.zoo.networks import build  # noqa: E402
from edgeseg.zoo.networks.segformer import SegFormer  # noqa: E402
from edgeseg.zoo.onnx_session import Session  # noqa: E402

IMAGENET = surgery.Normalisation(255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SIZES_PX = ((160, 96), (96, 128))


@pytest.fixture(scope="module")
def pictures() -> list[U8]:
    """Smooth blobs: noise would be near-ties everywhere."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (3, 6, 8, 3), np.uint8)
    return [np.asarray(cv2.resize(one, (320, 240), interpolation=cv2.INTER_CUBIC), np.uint8) for one in small]


def small_segformer() -> SegFormer:
    torch.manual_seed(2)
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32], decoder_hidden_size=48, num_labels=6
    )
    network = SegFormer(6, transformers.SegformerForSemanticSegmentation(config)).eval()
    norm = network.head.batch_norm
    for tensor in (norm.running_mean, norm.weight.data, norm.bias.data, network.head.classifier.bias.data):
        tensor.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    for name, parameter in network.head.named_parameters():
        if name.endswith("bias") or "classifier" in name:
            parameter.data.normal_()
    return network


def test_deeplab_as_deploy_graph_answers_as_torch(pictures: list[U8], tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = build("deeplabv3plus", 6)
    graph = export.to_onnx(network)
    kinds = {node.op_type for node in graph.graph}
    # A size computed from shapes is where exporters have gone wrong: nothing here may need one.
    assert kinds == {"Conv", "Clip", "Relu", "Add", "Concat", "Resize"}
    normalisation = surgery.Normalisation()
    plain = agreement.compare(network, graph, pictures, normalisation, SIZES_PX)
    assert plain.labels == 1.0
    surgery.to_deploy(graph, normalisation)
    deployed = agreement.compare(network, graph, pictures, normalisation, SIZES_PX)
    agreement.require(deployed, "deeplab")
    path = tmp_path / "deploy.onnx"
    export.save_model(graph, path)
    answers = Session(path).run(np.zeros((2, 64, 96, 3), np.uint8))
    assert {name: (value.dtype, value.shape) for name, value in answers.items()} == {
        "labels": (np.dtype(np.uint8), (2, 16, 24)),
        "confidence": (np.dtype(np.uint8), (2, 16, 24)),
    }
    # Exporters note source lines with the builder's paths.
    assert str(Path(torch.__file__).parent.parent).encode() not in path.read_bytes()


@pytest.fixture(scope="module")
def segformer() -> tuple[SegFormer, ir.Model]:
    network = small_segformer()
    return network, export.to_onnx(network)


def test_the_merged_graph_answers_as_the_original(
    segformer: tuple[SegFormer, ir.Model], tmp_path: Path
) -> None:
    network, graph = segformer
    export.save_model(graph, tmp_path / "original.onnx")
    segformer_head.merge_file(tmp_path / "original.onnx", tmp_path / "merged.onnx")
    merged = ir.load(tmp_path / "merged.onnx")
    assert sum(node.op_type == "Resize" for node in merged.graph) == 3
    x = np.random.default_rng(1).normal(size=(2, 3, 128, 96)).astype(np.float32)
    before, after = Session(graph).run(x)["logits"], Session(merged).run(x)["logits"]
    assert np.array_equal(before.argmax(axis=1), after.argmax(axis=1))
    with torch.inference_mode():
        assert np.abs(after - network(torch.from_numpy(x)).main.numpy()).max() < 1e-4


def test_merging_goes_on_to_a_deploy_graph_with_imagenet_normalisation(
    segformer: tuple[SegFormer, ir.Model], pictures: list[U8]
) -> None:
    network, graph = segformer
    merged = segformer_head.merge(graph)
    surgery.to_deploy(merged, IMAGENET)
    agreement.require(agreement.compare(network, merged, pictures, IMAGENET, SIZES_PX), "segformer")


def test_a_merge_that_went_wrong_is_not_written(segformer: tuple[SegFormer, ir.Model]) -> None:
    _, graph = segformer
    wrong = segformer_head.merge(graph)
    bias = wrong.graph.initializers["merged_head_stage0_bias"]
    bias.const_value = ir.tensor(bias.const_value.numpy() + 0.01, name=bias.name)
    with pytest.raises(ModelError, match="not the same network, not written"):
        segformer_head.check(graph, wrong)


def small_graph(*, resize: bool = False, channels: int = 3, pads: int = 0) -> ir.Model:
    """input -> 3 x 3 convolution to 4 channels at stride 4 -> [Resize by 4] -> logits."""
    random = np.random.default_rng(4)
    x = ir.Value(
        name="input", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["n", channels, "h", "w"])
    )
    weight = ir.tensor(random.normal(size=(4, channels, 3, 3)).astype(np.float32), name="weight")
    kernel = ir.Value(
        name="weight", const_value=weight, shape=ir.Shape(weight.shape), type=ir.TensorType(weight.dtype)
    )
    nodes = [ir.node("Conv", [x, kernel], {"strides": [4, 4], "pads": [pads] * 4})]
    initializers = [kernel]
    if resize:
        array = ir.tensor(np.array([1, 1, 4, 4], np.float32), name="scales")
        scales = ir.Value(
            name="scales", const_value=array, shape=ir.Shape([4]), type=ir.TensorType(array.dtype)
        )
        nodes.append(ir.node("Resize", [nodes[-1].outputs[0], None, scales], {"mode": "linear"}))
        initializers.append(scales)
    y = nodes[-1].outputs[0]
    y.name, y.type, y.shape = "logits", x.type, ir.Shape(["n", 4, "gh", "gw"])
    graph = ir.Graph([x], [y], nodes=nodes, initializers=initializers, opset_imports={"": 18}, name="small")
    return ir.Model(graph, ir_version=10)


@pytest.mark.parametrize("pads", [0, 1])
def test_normalisation_is_folded_exactly(pads: int) -> None:
    normalisation = surgery.Normalisation(255.0, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), bgr=True)
    plain, deploy = small_graph(pads=pads), small_graph(pads=pads)
    surgery.to_deploy(deploy, normalisation)
    view = np.random.default_rng(5).integers(0, 256, (2, 32, 64, 3), np.uint8)
    logits = Session(plain).run(agreement.normalise(view, normalisation).numpy())["logits"]
    answers = Session(deploy).run(view)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert np.array_equal(answers["labels"], logits.argmax(axis=1))
    confidence = 255.0 / exponents.sum(axis=1)
    assert np.abs(answers["confidence"] - confidence).max() <= 0.51
    assert sum(node.op_type == "Mul" for node in deploy.graph) == 0


def test_half_weights_halve_the_file_and_keep_the_labels(
    segformer: tuple[SegFormer, ir.Model], pictures: list[U8], tmp_path: Path
) -> None:
    network, graph = segformer
    deploy = segformer_head.merge(graph)
    surgery.to_deploy(deploy, IMAGENET)
    export.save_model(deploy, tmp_path / "whole.onnx")
    surgery.halve_weights(deploy)
    export.save_model(deploy, tmp_path / "half.onnx")
    whole, half = ((tmp_path / f"{name}.onnx").stat().st_size for name in ("whole", "half"))
    assert half < 0.75 * whole
    compared = agreement.compare(network, deploy, pictures, IMAGENET, SIZES_PX)
    assert compared.labels > 0.99
    assert compared.confidence_levels <= 3


def test_the_final_resize_goes_and_the_name_stays() -> None:
    with_resize, without = small_graph(resize=True), small_graph()
    assert surgery.drop_final_resize(with_resize)
    assert not surgery.drop_final_resize(without)
    x = np.random.default_rng(6).normal(size=(1, 3, 32, 32)).astype(np.float32)
    assert np.array_equal(Session(with_resize).run(x)["logits"], Session(without).run(x)["logits"])


def test_a_graph_that_is_no_segformer() -> None:
    with pytest.raises(ModelError, match="found an input where SegFormer's head has Relu"):
        segformer_head.merge(small_graph())


def test_a_graph_with_two_outputs_has_no_deploy_form() -> None:
    graph = small_graph()
    graph.graph.outputs.append(graph.graph.outputs[0])
    with pytest.raises(ModelError, match="1 inputs and 2 outputs, expected 1 and 1"):
        surgery.to_deploy(graph, surgery.Normalisation())


def test_a_file_that_is_no_onnx(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"\x00not a graph")
    with pytest.raises(ModelError, match=r"a\.onnx: not a readable ONNX file"):
        segformer_head.merge_file(path, tmp_path / "b.onnx")
    assert not (tmp_path / "b.onnx").exists()

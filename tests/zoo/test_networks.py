"""The networks: shapes at free sizes, real weights that survive their BatchNorm, the exact merged head."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.errors import ModelError

torch = pytest.importorskip("torch", reason="torch is not installed (extra zoo)")
pytest.importorskip("transformers", reason="transformers is not installed (extra zoo)")

from torch.nn import functional  # noqa: E402

from edgeseg.zoo.data import read_picture, to_input  # noqa: E402
from edgeseg.zoo.networks import NETWORKS, build  # noqa: E402
from edgeseg.zoo.networks.deeplabv3plus_pooled import DeepLabV3PlusPooled, start_from_pascal  # noqa: E402
from edgeseg.zoo.networks.folded import load_folded  # noqa: E402
from edgeseg.zoo.networks.layers import ConvNorm, DilatedDepthwise  # noqa: E402
from edgeseg.zoo.networks.mobilenet_v2 import STAGES, MobileNetV2  # noqa: E402
from edgeseg.zoo.networks.segformer import MergedHead, SegFormer, train_head  # noqa: E402
from edgeseg.zoo.validate import predict  # noqa: E402


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("height", "width"), [(64, 96), (32, 160)])
def test_logits_are_at_stride_4_at_any_size(name: str, height: int, width: int) -> None:
    network = build(name, 5).eval()
    with torch.inference_mode():
        output = network(torch.zeros(2, 3, height, width))
    assert output.main.shape == (2, 5, height // 4, width // 4)
    assert output.auxiliary == ()


@pytest.mark.parametrize("name", ["deeplabv3plus", "icnet"])
def test_auxiliary_heads_train_only(name: str) -> None:
    network = build(name, 5).train()
    auxiliary = network(torch.zeros(2, 3, 64, 96)).auxiliary
    assert auxiliary
    assert all(logits.shape[1] == 5 and 64 % logits.shape[2] == 0 for logits in auxiliary)


def test_an_unknown_network() -> None:
    with pytest.raises(ModelError, match="'unet' is unknown; expected one of deeplabv3plus"):
        build("unet", 5)


@pytest.mark.parametrize(("rows", "columns"), [(8, 12), (9, 12)])
def test_phases_of_a_dilated_convolution_are_exact(rows: int, columns: int) -> None:
    torch.manual_seed(1)
    layer = DilatedDepthwise(6, 6, 3, 1, 2, 2, 6).train()
    x = torch.randn(2, 6, rows, columns)
    expected = torch.nn.functional.conv2d(x, layer.weight, layer.bias, 1, 2, 2, 6)
    torch.testing.assert_close(layer(x), expected)


def test_a_network_without_norms_begins_as_the_pascal_network(data_dir: Path) -> None:
    path = data_dir / "models" / "deeplabv3_mnv2_pascal_folded.npz"
    network = DeepLabV3PlusPooled(21).eval()
    start_from_pascal(network, path, [(index,) for index in range(21)])
    picture = read_picture(data_dir / "samples" / "bird_segmentation.bmp")
    truth = cv2.imread(str(data_dir / "samples" / "bird_segmentation_mask.bmp"), cv2.IMREAD_UNCHANGED)
    labels = predict(network, picture)
    assert truth is not None
    bird = (truth if truth.ndim == 2 else truth[..., 0]) == 3
    overlap = ((labels == 3) & bird).sum() / ((labels == 3) | bird).sum()
    assert overlap > 0.8
    with pytest.raises(ModelError, match="MobileNetV2"):
        start_from_pascal(network, data_dir / "models" / "mobilenet_v2_imagenet_folded.npz", [(0,)] * 21)


def test_frozen_blocks_have_no_gradients() -> None:
    network = DeepLabV3PlusPooled(3).train()
    network(torch.zeros(1, 3, 64, 64)).main.sum().backward()
    learning = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert not any(
        name.startswith(("trunk.stem.", "trunk.blocks.0.", "trunk.blocks.2.")) for name in learning
    )
    assert any(name.startswith("trunk.blocks.3.") for name in learning)


@pytest.mark.parametrize("dilation", [2, 6])
def test_dilated_depthwise_gradients_are_right_in_bf16(dilation: int) -> None:
    torch.manual_seed(0)
    layer = ConvNorm(128, 128, 3, dilation=dilation, groups=128).convolution
    layer.to(memory_format=torch.channels_last)
    x, out = (torch.randn(4, 128, 24, 32).contiguous(memory_format=torch.channels_last) for _ in range(2))
    (expected,) = torch.autograd.grad(layer(x), layer.weight, out)
    with torch.autocast("cpu", torch.bfloat16):
        answer = layer(x.bfloat16())
    (got,) = torch.autograd.grad(answer, layer.weight, out.to(answer.dtype))
    assert (got - expected).abs().max() < 0.02 * expected.abs().max()


def pictures(data_dir: Path, count: int = 6) -> torch.Tensor:
    files = sorted((data_dir / "camvid" / "val").iterdir())[:: 101 // count][:count]
    read = [cv2.resize(cv2.imread(str(file)), (256, 192))[..., ::-1] for file in files]
    return torch.from_numpy(to_input(np.stack(read))).permute(0, 3, 1, 2).contiguous()


def folded_network(path: Path, x: torch.Tensor, output_stride: int) -> torch.Tensor:
    """The folded file computed by itself, without the package's layers: convolutions, bias, ReLU6."""
    arrays = np.load(path)

    def conv(name: str, x: torch.Tensor, stride: int = 1, dilation: int = 1) -> torch.Tensor:
        weight = torch.from_numpy(arrays[f"{name}/weight"].astype(np.float32))
        bias = torch.from_numpy(arrays[f"{name}/bias"])
        groups = x.shape[1] if weight.shape[1] == 1 else 1
        total = dilation * (weight.shape[2] - 1) + 1 - stride if weight.shape[2] > 1 else 0
        x = functional.pad(x, (total // 2, total - total // 2) * 2)
        return functional.conv2d(x, weight, bias, stride, 0, dilation, groups)

    x = conv("stem", x, 2).clamp(0, 6)
    number, reached, dilation = 0, 2, 1
    for expansion, _, count, first_stride in STAGES:
        for index in range(count):
            stride, own, block = first_stride if index == 0 else 1, dilation, f"block{number:02d}"
            if stride == 2 and reached == output_stride:
                stride, dilation = 1, 2 * dilation
            reached *= stride
            y = conv(f"{block}/expand", x).clamp(0, 6) if expansion > 1 else x
            y = conv(f"{block}/project", conv(f"{block}/depthwise", y, stride, own).clamp(0, 6))
            x = x + y if x.shape == y.shape else y
            number += 1
    return x


@pytest.mark.parametrize(
    ("file", "output_stride"), [("deeplabv3_mnv2_pascal_folded", 16), ("mobilenet_v2_imagenet_folded", 32)]
)
def test_real_weights_compute_the_same_with_batchnorm(data_dir: Path, file: str, output_stride: int) -> None:
    path, x = data_dir / "models" / f"{file}.npz", pictures(data_dir)
    trunk = MobileNetV2(output_stride).eval()
    load_folded(trunk, path, x)
    with torch.inference_mode():
        expected, got = folded_network(path, x, output_stride), trunk(x).deep
        trained = trunk.train()(x).deep
    scale = expected.abs().max()
    assert (got - expected).abs().max() < 1e-3 * scale
    # Training mode takes its statistics from the batch: identical pictures, so nearly identical answers.
    assert (trained - expected).abs().max() < 1e-2 * scale


def test_weights_of_another_width(tmp_path: Path, data_dir: Path) -> None:
    with np.load(data_dir / "models" / "mobilenet_v2_imagenet_folded.npz") as arrays:
        half = {key: arrays[key][: len(arrays[key]) // 2] for key in arrays.files}
    np.savez(tmp_path / "half.npz", **half)
    with pytest.raises(ModelError, match=r"stem/weight has shape \(16, 3, 3, 3\), expected \(32, 3, 3, 3\)"):
        load_folded(MobileNetV2(), tmp_path / "half.npz", torch.zeros(1, 3, 32, 32))


def test_a_file_that_is_no_npz(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    path.write_bytes(b"PK no archive")
    with pytest.raises(ModelError, match=r"weights\.npz"):
        load_folded(MobileNetV2(), path, torch.zeros(1, 3, 32, 32))


def randomise(network: SegFormer) -> None:
    """Fresh heads have zero biases and an identity BatchNorm, which would hide half of the arithmetic."""
    torch.manual_seed(3)
    norm = network.head.batch_norm
    for tensor in (norm.running_mean, norm.weight.data, norm.bias.data):
        tensor.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    for name, parameter in network.head.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_()


def test_the_merged_head_is_exact() -> None:
    network = build("segformer", 7).eval()
    assert isinstance(network, SegFormer)
    randomise(network)
    x = torch.randn(2, 3, 96, 128)
    with torch.inference_mode():
        before, after = network(x).main, network.merged()(x).main
    assert (before - after).abs().max() < 1e-5 * before.abs().max()
    assert torch.equal(before.argmax(dim=1), after.argmax(dim=1))


def test_the_head_trains_as_the_original_does() -> None:
    torch.manual_seed(0)
    network = SegFormer(5).train()
    head = network.head
    features = network.trunk(torch.rand(2, 3, 64, 96), output_hidden_states=True, return_dict=True)
    stages = tuple(stage.detach().requires_grad_() for stage in features.hidden_states)
    outcomes = []
    for logits in (head(stages), train_head(head, stages)):
        gradients = torch.autograd.grad(logits.square().sum(), [*stages, *head.parameters()])
        outcomes.append((logits, *gradients))
    for ours, original in zip(*reversed(outcomes), strict=True):
        # float32 rounding in another order of sums.
        torch.testing.assert_close(ours, original, rtol=2e-3, atol=2e-4)


def test_only_a_segformer_head_is_merged() -> None:
    with pytest.raises(ModelError, match="Conv2d: not SegFormer's decode head"):
        MergedHead.merge(torch.nn.Conv2d(3, 3, 1))

"""SegFormer-B0 (Xie et al. 2021) from transformers, and its decode head rewritten exactly."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from edgeseg.errors import ModelError
from edgeseg.zoo.networks.output import Logits

HINT_STAGES = (0, 2, 3)
HINT_CHANNELS = (144, 96, 320)
"""Strides 4, 16 and 32 of the encoder for the trunk's skip, middle and deep features."""


class MergedHead(nn.Module):
    """SegFormer's decode head, mathematically the same, at 40 % of its arithmetic.

    The original projects each of four stages linearly, enlarges them to stride 4, concatenates, applies
    a bias-free 1 x 1 convolution (``linear_fuse``) and BatchNorm, then ReLU and the classifier. A 1 x 1
    convolution commutes with bilinear enlarging, whose weights add up to 1. So each stage's projection,
    its slice of ``linear_fuse`` and the BatchNorm of evaluation mode are one 1 x 1 convolution that runs
    *before* the enlarging; afterwards there is only a sum.
    """

    def __init__(self, stages: list[nn.Conv2d], classify: nn.Conv2d) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.classify = classify

    @classmethod
    def merge(cls, head: nn.Module) -> MergedHead:
        """From a ``SegformerDecodeHead``. Raises ModelError if it is not one. Shares no weights with it."""
        try:
            # transformers renamed linear_c in version 5.
            stages_in = head.linear_projections if hasattr(head, "linear_projections") else head.linear_c
            projections = [stage.proj for stage in stages_in]  # type: ignore[union-attr]
            fuse, norm, classify = head.linear_fuse, head.batch_norm, head.classifier
        except AttributeError as error:
            raise ModelError(f"{type(head).__name__}: not SegFormer's decode head ({error})") from error
        assert isinstance(fuse, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert isinstance(classify, nn.Conv2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        # In double precision: the merged weights then lose nothing but their final rounding.
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        shift = norm.bias.double() - norm.running_mean.double() * scale
        # The head concatenates its stages deepest first.
        slices = list(fuse.weight.double().flatten(1).chunk(len(projections), dim=1))[::-1]
        stages = []
        for index, (projection, part) in enumerate(zip(projections, slices, strict=True)):
            merged = nn.Conv2d(projection.in_features, fuse.out_channels, 1)
            weight = scale[:, None] * (part @ projection.weight.double())
            bias = scale * (part @ projection.bias.double()) + (shift if index == 0 else 0.0)
            merged.weight.data.copy_(weight[:, :, None, None])
            merged.bias.data.copy_(bias)  # type: ignore[union-attr]
            stages.append(merged)
        copied = nn.Conv2d(classify.in_channels, classify.out_channels, 1)
        copied.load_state_dict(classify.state_dict())
        return cls(stages, copied)

    def forward(self, features: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """features: the encoder's stages (n, c, h/4, w/4) to (n, c, h/32, w/32). Returns logits at 4."""
        y = self.stages[0](features[0])
        for index in range(1, len(features)):
            small = self.stages[index](features[index])
            y = y + functional.interpolate(
                small, scale_factor=float(2**index), mode="bilinear", align_corners=False
            )
        logits: torch.Tensor = self.classify(torch.relu(y))
        return logits


def train_head(head: nn.Module, features: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """A ``SegformerDecodeHead``'s logits and gradients by the order of ``MergedHead``; BatchNorm stays.

    Half a training step of B0 goes into the head's original order: 1024 channels at stride 4.
    """
    projections = [stage.proj for stage in head.linear_projections]  # type: ignore[union-attr]
    slices = list(head.linear_fuse.weight.flatten(1).chunk(len(projections), dim=1))[::-1]  # type: ignore
    y: torch.Tensor | None = None
    for feature, projection, part in zip(features, projections, slices, strict=True):
        weight = part @ projection.weight
        # Enlarging is ten times faster with the channels last.
        last = feature.contiguous(memory_format=torch.channels_last)
        small = functional.conv2d(last, weight[:, :, None, None], part @ projection.bias)
        if y is None:
            y = small
        else:
            y = y + functional.interpolate(small, y.shape[-2:], mode="bilinear", align_corners=False)
    y = torch.relu(head.batch_norm(y))  # type: ignore[operator]
    logits: torch.Tensor = head.classifier(head.dropout(y))  # type: ignore[operator]
    return logits


class SegFormer(nn.Module):
    """Takes float (n, 3, h, w), h and w multiples of 32; returns logits at stride 4.

    While training, three projections guess at the features of a MobileNetV2 trunk: without pretrained
    weights the encoder does not learn from a few hundred pictures, and no pretrained one is to be had.
    """

    def __init__(self, classes: int, network: SegformerForSemanticSegmentation | None = None) -> None:
        super().__init__()
        if network is None:
            # transformers' defaults are B0's sizes. Its dropout is for hundreds of thousands of steps.
            config = SegformerConfig(classifier_dropout_prob=0.0, drop_path_rate=0.0)
            config.num_labels = classes
            network = SegformerForSemanticSegmentation(config)
            # Under bf16 on a CPU the plain product trains a fifth faster than the fused kernel.
            network.set_attn_implementation("eager")
        self.trunk = network.segformer
        self.head: nn.Module = network.decode_head
        widths = network.config.hidden_sizes
        self.hints = nn.ModuleList(
            nn.Conv2d(widths[stage], channels, 1)
            for stage, channels in zip(HINT_STAGES, HINT_CHANNELS, strict=True)
        )

    def forward(self, x: torch.Tensor) -> Logits:
        features = self.trunk(x, output_hidden_states=True, return_dict=True).hidden_states
        if not self.training:
            return Logits(self.head(features))
        hints = tuple(hint(features[stage]) for hint, stage in zip(self.hints, HINT_STAGES, strict=True))
        return Logits(train_head(self.head, features), hints=hints)

    def merged(self) -> SegFormer:
        """The same network with the merged head; the trunk is shared. Evaluation only."""
        twin = SegFormer.__new__(SegFormer)
        nn.Module.__init__(twin)
        twin.trunk = self.trunk
        twin.head = MergedHead.merge(self.head)
        twin.eval()
        return twin

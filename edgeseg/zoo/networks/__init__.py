"""The networks of the zoo, by the name a recipe gives them."""

from __future__ import annotations

from torch import nn

from edgeseg.errors import ModelError
from edgeseg.zoo.networks.deeplabv3plus import DeepLabV3Plus
from edgeseg.zoo.networks.icnet import ICNet
from edgeseg.zoo.networks.segformer import SegFormer

NETWORKS: dict[str, type[nn.Module]] = {
    "deeplabv3plus": DeepLabV3Plus,
    "icnet": ICNet,
    "segformer": SegFormer,
}


def build(name: str, classes: int) -> nn.Module:
    """A fresh network with random weights. Raises ModelError for an unknown name."""
    if name not in NETWORKS:
        raise ModelError(f"network: {name!r} is unknown; expected one of {', '.join(NETWORKS)}")
    return NETWORKS[name](classes)

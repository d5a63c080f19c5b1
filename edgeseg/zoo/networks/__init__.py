"""The networks of the zoo, by the name a recipe gives them."""

from __future__ import annotations

from torch import nn

from edgeseg.errors import ModelError
from edgeseg.zoo.networks.deeplabv3plus import DeepLabV3Plus

NETWORKS = ("deeplabv3plus",)


def build(name: str, classes: int) -> nn.Module:
    """A fresh network with random weights. Raises ModelError for an unknown name."""
    if name == "deeplabv3plus":
        return DeepLabV3Plus(classes)
    raise ModelError(f"network: {name!r} is unknown; expected one of {', '.join(NETWORKS)}")

"""Registry: the networks of the zoo, by the name that a recipe gives them."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from edgeseg.errors import ModelError
from edgeseg.zoo.networks.deeplabv3plus import DeepLabV3Plus
from edgeseg.zoo.networks.deeplabv3plus_pooled import DeepLabV3PlusPooled
from edgeseg.zoo.networks.icnet import ICNet
from edgeseg.zoo.networks.segformer import SegFormer

NETWORKS: dict[str, type[nn.Module]] = {
    "deeplabv3plus": DeepLabV3Plus,
    "deeplabv3plus_pooled": DeepLabV3PlusPooled,
    "icnet": ICNet,
    "segformer": SegFormer,
}


def build(name: str, classes: int) -> nn.Module:
    """A fresh network with random weights. Raises ModelError for an unknown name."""
    if name not in NETWORKS:
        raise ModelError(f"network: {name!r} is unknown; expected one of {', '.join(NETWORKS)}")
    return NETWORKS[name](classes)


def another_architecture(path: Path, found: str | None, wanted: nn.Module) -> ModelError:
    """What to say of weights in ``path`` that are those of the network ``found``, None for an unknown one."""
    own = next((name for name, kind in NETWORKS.items() if type(wanted) is kind), type(wanted).__name__)
    advice = (
        "start from another model"
        if found is None
        else f"write `network: {found}` there, or start from another model"
    )
    return ModelError(
        f"{path}: the weights of {found or 'another network'}, but the recipe has `network: {own}`; {advice}"
    )

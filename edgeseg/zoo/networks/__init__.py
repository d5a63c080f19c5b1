"""Networks: the architectures of the zoo."""

from edgeseg.zoo.networks.registry import NETWORKS, another_architecture, build

__all__ = ["NETWORKS", "another_architecture", "build"]

"""Engines: run a network on uint8 RGB pictures, and return named arrays."""

from edgeseg.engines.select import open_engine
from edgeseg.models.runtimes import ENGINES

__all__ = ["ENGINES", "open_engine"]

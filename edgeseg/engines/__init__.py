"""Engines: run a network on uint8 RGB pictures, and return named arrays."""

from edgeseg.engines.select import open_engine
from edgeseg.models.runtimes import ENGINE_NAMES

__all__ = ["ENGINE_NAMES", "open_engine"]

"""Runtimes behind one seam: a batch of uint8 RGB pictures in, named arrays out."""

from edgeseg.engines.select import open_engine
from edgeseg.models.runtimes import ENGINE_NAMES

__all__ = ["ENGINE_NAMES", "open_engine"]

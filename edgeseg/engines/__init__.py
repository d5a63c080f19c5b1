"""Runtimes behind one seam: a batch of uint8 RGB pictures in, named arrays out."""

from edgeseg.engines.select import ENGINES, open_engine

__all__ = ["ENGINES", "open_engine"]

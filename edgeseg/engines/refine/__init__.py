"""For when accuracy matters more than speed: more answers to one picture, and boundaries that follow it."""

from edgeseg.engines.refine.engine import RefinedEngine
from edgeseg.engines.refine.refined import refined

__all__ = ["RefinedEngine", "refined"]

"""Refinement: more accuracy for more time, by several runs and filtered edges."""

from edgeseg.engines.refine.engine import RefinedEngine
from edgeseg.engines.refine.refined import refined

__all__ = ["RefinedEngine", "refined"]

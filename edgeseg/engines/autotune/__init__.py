"""Autotune: measures which engine runs a model best on this machine; the labels must be right."""

from edgeseg.engines.autotune.benchmark import LEAST_AGREEMENT, LEAST_AGREEMENT_GATED, LIMIT_S, measure
from edgeseg.engines.autotune.choose_engine import open_best_engine, rank_candidates, save_measurements

__all__ = [
    "LEAST_AGREEMENT",
    "LEAST_AGREEMENT_GATED",
    "LIMIT_S",
    "measure",
    "open_best_engine",
    "rank_candidates",
    "save_measurements",
]

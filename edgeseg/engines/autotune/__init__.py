"""Autotune: measures which engine runs a model best on this machine; the labels must be right."""

from edgeseg.engines.autotune.choose_engine import keep, open_best, settle
from edgeseg.engines.autotune.contest import LEAST_AGREEMENT, LEAST_AGREEMENT_GATED, LIMIT_S, measure

__all__ = [
    "LEAST_AGREEMENT",
    "LEAST_AGREEMENT_GATED",
    "LIMIT_S",
    "keep",
    "measure",
    "open_best",
    "settle",
]

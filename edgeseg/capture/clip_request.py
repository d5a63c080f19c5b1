"""Clip request: which part of a camera's packets becomes a clip."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClipRequest:
    """Make a clip from ``before_s`` before ``at_s`` (monotonic) until ``after_s`` after it.

    comment: written into the file's metadata.
    """

    alert_id: str
    at_s: float
    before_s: float
    after_s: float
    comment: str

"""How many examples hypothesis tries: each property's usual number, times EDGESEG_EXAMPLES.

The usual run tries the same ones everywhere, so that it cannot fail on one machine by luck alone.
``make test-thorough`` tries ten times as many, others each time.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_FACTOR = int(os.environ.get("EDGESEG_EXAMPLES", "1"))
_DEFAULT = 100


def examples(usual: int) -> int:
    """For ``max_examples``."""
    return usual * _FACTOR


def load_profile() -> None:
    """No deadline: how long an example takes, or takes to be made, says something about the machine alone."""
    settings.register_profile(
        "edgeseg",
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        derandomize=_FACTOR == 1,
        max_examples=examples(_DEFAULT),
    )
    settings.load_profile("edgeseg")

"""pytest plugin: fixtures that test a pipeline file's rules; pytest loads it where edgeseg is installed.

``edgeseg_zone`` is ``edgeseg.testing.watch`` and ``edgeseg_replay`` is ``edgeseg.testing.replayed``, with
paths that start from the folder of the test.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Nothing of edgeseg is loaded by test runs that do not ask for it.
if TYPE_CHECKING:
    from edgeseg.testing import Told, WatchedZone


@pytest.fixture
def edgeseg_zone(request: pytest.FixtureRequest) -> Callable[..., WatchedZone]:
    """``edgeseg_zone("yard.yaml", zone="loading_bay")``: a zone to which a test shows coverage."""
    from edgeseg.testing import watch

    def zone(pipeline: str | Path, *arguments: str, **more: str) -> WatchedZone:
        return watch(request.path.parent / pipeline, *arguments, **more)

    return zone


@pytest.fixture
def edgeseg_replay(request: pytest.FixtureRequest) -> Callable[..., list[Told]]:
    """``edgeseg_replay("yard.jsonl", "yard.yaml")``: what the rules tell of a recording."""
    from edgeseg.testing import replayed

    def replay(recording: str | Path, pipeline: str | Path, camera: str | None = None) -> list[Told]:
        folder = request.path.parent
        return replayed(folder / recording, folder / pipeline, camera)

    return replay

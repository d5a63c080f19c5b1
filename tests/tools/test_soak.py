"""What a soak is judged by; the soak itself runs in the fault suite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeseg.cli import main
from edgeseg.tools.soak.alert_audit import audit
from edgeseg.tools.soak.run import MEMORY
from edgeseg.tools.soak.trend import trend
from tests.conftest import ROOT

HOUR_S = 3600.0


def noise(count: int, seed: int, *, alike: float = 0.0) -> np.ndarray:
    """Around 0, standard deviation 1. alike: correlation with the neighbour, as an allocator's steps have."""
    numbers = np.random.default_rng(seed)
    values = numbers.normal(size=count)
    for index in range(1, count):
        values[index] = alike * values[index - 1] + (1 - alike**2) ** 0.5 * values[index]
    return values


def test_growth_is_seen() -> None:
    times_s = np.linspace(0, HOUR_S / 3, 1200)
    found = trend(times_s, 100 + 6 * times_s / HOUR_S + 0.3 * noise(1200, 1))
    assert found.grows
    assert found.low < 6 < found.high


@pytest.mark.parametrize("alike", [0.0, 0.9, 0.99])
def test_what_stays_is_rarely_taken_for_growth(alike: float) -> None:
    times_s = np.linspace(0, HOUR_S / 3, 1200)
    alarms = sum(trend(times_s, 100 + noise(1200, seed, alike=alike)).grows for seed in range(200))
    # 2.5 % are expected; correlation over whole blocks cannot be made up for entirely.
    assert alarms <= 20


def settling(times_s: np.ndarray) -> np.ndarray:
    """As the daemon's memory was seen to settle in its first 20 minutes, with its noise (MiB)."""
    return 122 + 1.6 * (1 - np.exp(-times_s / 290)) + 0.02 * noise(len(times_s), 1, alike=0.9)


@pytest.mark.parametrize(("per_hour", "grows"), [(0.0, False), (3.0, True)])
def test_settling_is_told_from_growth(per_hour: float, grows: bool) -> None:
    times_s = np.linspace(HOUR_S / 12, HOUR_S / 3, 900)
    found = trend(times_s, settling(times_s) + per_hour * times_s / HOUR_S)
    assert found.grows == grows
    assert found.low < per_hour < found.high


def test_a_constant_does_not_grow() -> None:
    assert not trend(range(100), [7.0] * 100).grows


def test_too_few_points() -> None:
    with pytest.raises(ValueError, match="need at least"):
        trend([1.0], [1.0])


def test_memory_is_kept_as_the_service_keeps_it() -> None:
    lines = (ROOT / "systemd" / "edgeseg@.service").read_text().splitlines()
    assert {f"Environment={name}={value}" for name, value in MEMORY.items()} <= set(lines)


def alert(id_: str, seq: int, at_s: float, *, replayed: bool = False, camera: str = "yard") -> dict[str, Any]:
    text = f"2026-01-01T00:{int(at_s) // 60:02}:{at_s % 60:06.3f}Z"
    event = "new" if seq == 0 else "end"
    return {
        "id": id_,
        "seq": seq,
        "at": text,
        "began_at": f"{id_}",
        "camera": camera,
        "replayed": replayed,
        "event": event,
    }


def test_audit_of_a_whole_story() -> None:
    story = [alert("a", 0, 1.0), alert("a", 1, 2.0), alert("b", 0, 3.0), alert("b", 0, 3.0, replayed=True)]
    found = audit(story)
    assert (found.received, found.clean) == (3, True)


def test_audit_of_faults() -> None:
    assert audit([alert("a", 1, 2.0)]).lost == 1
    assert audit([alert("a", 0, 1.0), alert("a", 0, 1.0)]).unmarked == 1
    assert audit([alert("a", 0, 2.0), alert("b", 0, 1.0)]).disordered == 1
    assert audit([alert("a", 0, 1.0), alert("a", 1, 2.0, camera="gate")]).reused == 1


def test_a_clip_that_is_not_there(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["soak", str(tmp_path / "gone.mp4"), "--output", str(tmp_path / "out")]) == 2
    assert "gone.mp4: no such file" in capsys.readouterr().err


def test_minutes_out_of_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["soak", "--minutes", "0"])
    assert "got 0" in capsys.readouterr().err

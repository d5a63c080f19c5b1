"""Bytes from outside: taken, or refused in words. ``make fuzz`` looks deeper, guided by coverage."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeseg.clock import SystemClock
from edgeseg.errors import PublishError
from edgeseg.publish.outbox import Outbox
from tests.faults.conftest import WHOLE_SUITE, Note
from tests.faults.hostile import mutated
from tests.faults.ledger import Row
from tests.faults.targets import TARGETS, seeds

EXAMPLES = 2000 if WHOLE_SUITE else 50

pytestmark = [pytest.mark.quick, pytest.mark.timeout(900)]


@pytest.mark.parametrize("target", TARGETS)
def test_texts(target: str, note: Note) -> None:
    whole = seeds(target)
    tried = 0

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.sampled_from(whole), st.integers(0, 2**32), st.integers(1, 4), st.binary(max_size=40))
    def mutate(seed: bytes, number: int, times: int, tail: bytes) -> None:
        nonlocal tried
        tried += 1
        numbers = random.Random(number)
        content = seed
        for _ in range(times):
            content = mutated(content or b"\0", numbers)
        TARGETS[target](content)
        TARGETS[target](tail)

    began_s = time.monotonic()
    mutate()
    what = f"{2 * tried} inputs in {time.monotonic() - began_s:.0f} s, none raised what it should not"
    note(Row("fuzzed", target, None, None, 0, 0, 0, what))


def test_damaged_outboxes(tmp_path: Path, note: Note) -> None:
    """Whatever became of the file: it is read, or set aside and a new one begun, or memory serves."""
    clock = SystemClock()
    path = tmp_path / "outbox.sqlite"
    with Outbox(path, clock) as outbox:
        for seq in range(20):
            outbox.append("a" * 16, seq, "edgeseg/test/alert", b'{"x":1}' * 50)
    whole = path.read_bytes()
    numbers = random.Random(9)
    durable = refused = 0
    for number in range(EXAMPLES // 5):
        folder = tmp_path / str(number)
        folder.mkdir()
        damaged = folder / "outbox.sqlite"
        damaged.write_bytes(mutated(whole, numbers))
        try:
            with Outbox(damaged, clock) as outbox:
                row = outbox.append("b" * 16, 0, "edgeseg/test/alert", b"{}")
                waiting = outbox.after(row - 1)
                assert waiting is not None
                assert waiting.payload == b"{}"
                durable += outbox.durable
                outbox.delete(row)
        except PublishError:
            # A flipped bit in the version makes it one of a newer edgeseg.
            refused += 1
    assert refused < 0.1 * EXAMPLES
    what = f"{EXAMPLES // 5} files: {durable} on disk again, {refused} refused as a newer version's"
    note(Row("fuzzed", "outbox file", None, None, 0, 0, 0, what))

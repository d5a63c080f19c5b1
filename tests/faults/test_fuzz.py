"""Bytes from outside: taken, or refused in words. ``make fuzz`` looks deeper, guided by coverage."""

from __future__ import annotations

import json
import logging
import random
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeseg.clock import SystemClock
from edgeseg.errors import StateError
from edgeseg.publish.base import Message
from edgeseg.publish.mqtt.delivery import Delivery
from edgeseg.publish.mqtt.outbox import Outbox
from edgeseg.state.node_state import NodeState
from edgeseg.system.rate_limited_log import RateLimitedLog
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


def test_damaged_state(tmp_path: Path, note: Note) -> None:
    """Whatever became of the file: it is read, or set aside and a new one begun, or memory serves; and alerts
    go on being delivered."""
    clock = SystemClock()
    whole_folder = tmp_path / "whole"
    with NodeState(whole_folder, clock) as state, Outbox(state.database, clock) as outbox:
        for seq in range(20):
            outbox.append(
                "a" * 16, seq, "edgeseg/test/alert", json.dumps({"seq": seq, "x": "y" * 200}).encode()
            )
    (file,) = whole_folder.glob("*.sqlite")
    whole = file.read_bytes()
    numbers = random.Random(9)
    durable = refused = delivered = 0
    for number in range(EXAMPLES // 4):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / file.name).write_bytes(mutated(whole, numbers))
        try:
            with NodeState(folder, clock) as state, Outbox(state.database, clock) as outbox:
                outbox.append("b" * 16, 0, "edgeseg/test/alert", b'{"seq":0}')
                delivered += deliver_all(outbox, clock)
                durable += outbox.durable
                assert outbox.counts.waiting == 0
        except StateError:
            # A flipped bit in the version makes it one of a newer edgeseg.
            refused += 1
    assert refused < 0.1 * EXAMPLES
    what = (
        f"{EXAMPLES // 4} files: {durable} on disk again, {refused} refused as a newer version's, "
        f"{delivered} alerts delivered"
    )
    note(Row("fuzzed", "state file", None, None, 0, 0, 0, what))


def deliver_all(outbox: Outbox, clock: SystemClock) -> int:
    """To a broker that takes everything; the newest must come last, as it was."""
    delivery = Delivery(outbox, RateLimitedLog(logging.getLogger("fuzz"), clock))
    delivery.connected(Message("s", b"online", qos=1, retain=True), window=None, largest_bytes=None)
    sent = 0
    last = None
    while outgoing := delivery.next(clock.monotonic_s()):
        sent += outgoing.row is not None
        last = outgoing if outgoing.row is not None else last
        delivery.sent(sent, outgoing)
        delivery.acknowledged(sent, 0, clock.monotonic_s())
    assert last is not None
    assert json.loads(last.message.payload)["seq"] == 0
    return sent

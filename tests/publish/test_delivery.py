"""What goes out next: windows, order, refusals, replays. No network."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from edgeseg.clock import ManualClock
from edgeseg.publish.base import Message
from edgeseg.publish.mqtt.delivery import LATE_AFTER_S, UNWRITTEN_WINDOW, Delivery, Outgoing
from edgeseg.publish.mqtt.outbox import Outbox
from edgeseg.system.rate_limited_log import MOST_KINDS, RateLimitedLog

ONLINE = Message("p/n/status", b"online", qos=1, retain=True)
SUCCESS, UNMATCHED, NOT_AUTHORIZED = 0x00, 0x10, 0x87


class Line:
    """A connection that hands out message ids."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.mid = 0

    def drain(self, now_s: float = 0.0) -> list[tuple[int, Outgoing]]:
        sent = []
        while outgoing := self.delivery.next(now_s):
            self.mid += 1
            self.delivery.sent(self.mid, outgoing)
            sent.append((self.mid, outgoing))
        return sent


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(utc_s=1000.0)


@pytest.fixture
def outbox(clock: ManualClock) -> Iterator[Outbox]:
    with Outbox(None, clock) as box:
        yield box


@pytest.fixture
def line(outbox: Outbox, clock: ManualClock) -> Line:
    delivery = Delivery(outbox, RateLimitedLog(logging.getLogger("test"), clock), window=4)
    return Line(delivery)


def state(topic: str, payload: bytes = b"1", *, qos: int = 1) -> Message:
    return Message(topic, payload, qos=1 if qos else 0, retain=True)


def raise_alerts(outbox: Outbox, *seqs: int) -> None:
    for seq in seqs:
        outbox.append("a", seq, "p/n/alert", json.dumps({"seq": seq, "replayed": False}).encode())


def connect(line: Line, *, window: int | None = None, largest_bytes: int | None = None) -> None:
    line.delivery.connected(ONLINE, window=window, largest_bytes=largest_bytes)


def alerts(sent: list[tuple[int, Outgoing]]) -> list[tuple[int, bool]]:
    bodies = [json.loads(one.message.payload) for _, one in sent if one.row is not None]
    return [(body["seq"], body["replayed"]) for body in bodies]


def test_online_goes_first_then_alerts_then_state(line: Line, outbox: Outbox) -> None:
    line.delivery.remember([state("s")])
    raise_alerts(outbox, 0)
    connect(line)
    assert [one.message.topic for _, one in line.drain()] == ["p/n/status", "p/n/alert", "s"]


def test_state_is_the_last_value_and_owed_again_on_each_connection(line: Line) -> None:
    connect(line)
    line.delivery.remember([state("s", b"1"), state("t", b"1")])
    line.delivery.remember([state("s", b"2")])
    for _ in range(2):
        payloads = {one.message.topic: one.message.payload for _, one in line.drain()}
        assert payloads == {"p/n/status": b"online", "s": b"2", "t": b"1"}
        assert line.drain() == []
        connect(line)


def test_windows_bound_what_is_in_flight(line: Line, outbox: Outbox) -> None:
    connect(line)
    raise_alerts(outbox, *range(10))
    line.delivery.remember(state(f"s{number}", qos=0) for number in range(2 * UNWRITTEN_WINDOW))
    sent = line.drain()
    assert alerts(sent) == [(0, False), (1, False), (2, False)]
    assert len(sent) == 4 + UNWRITTEN_WINDOW
    for mid, _ in sent:
        line.delivery.acknowledged(mid, SUCCESS, 0.0)
    assert alerts(line.drain()) == [(seq, False) for seq in range(3, 7)]


def test_a_broker_that_grants_less_gets_less(line: Line, outbox: Outbox) -> None:
    connect(line, window=2)
    raise_alerts(outbox, *range(10))
    assert alerts(line.drain()) == [(0, False)]


def test_an_acknowledged_alert_is_gone_and_the_rest_is_replayed(line: Line, outbox: Outbox) -> None:
    connect(line)
    raise_alerts(outbox, 0, 1, 2)
    sent = line.drain()
    line.delivery.acknowledged(sent[1][0], SUCCESS, 0.0)
    line.delivery.acknowledged(sent[2][0], UNMATCHED, 0.0)
    assert outbox.counts.waiting == 1
    connect(line)
    raise_alerts(outbox, 3)
    assert alerts(line.drain()) == [(2, True), (3, False)]
    assert (line.delivery.counts.delivered, line.delivery.counts.unmatched) == (2, 1)


def test_an_acknowledgement_of_an_earlier_connection_deletes_nothing(line: Line, outbox: Outbox) -> None:
    connect(line)
    raise_alerts(outbox, 0)
    mid = line.drain()[-1][0]
    connect(line)
    assert line.delivery.acknowledged(mid, SUCCESS, 0.0) is None
    assert outbox.counts.waiting == 1


def test_a_refused_alert_is_kept_and_probed_with_growing_pauses(line: Line, outbox: Outbox) -> None:
    connect(line)
    line.delivery.acknowledged(line.drain()[0][0], SUCCESS, 0.0)
    raise_alerts(outbox, *range(6))
    for mid, one in line.drain(0.0):
        assert line.delivery.acknowledged(mid, NOT_AUTHORIZED, 0.0) == one
    assert line.drain(0.99) == []
    assert line.delivery.settled
    probe = line.drain(1.0)
    assert alerts(probe) == [(0, True)]
    line.delivery.acknowledged(probe[0][0], NOT_AUTHORIZED, 1.0)
    assert line.drain(2.99) == []
    probe = line.drain(3.0)
    assert alerts(probe) == [(0, True)]
    line.delivery.acknowledged(probe[0][0], SUCCESS, 3.0)
    assert alerts(line.drain(3.0)) == [(1, True), (2, True), (3, True), (4, False)]
    assert line.delivery.counts.refused == 5


def test_no_alert_overtakes_one_that_is_held(line: Line, outbox: Outbox) -> None:
    connect(line)
    line.delivery.acknowledged(line.drain()[0][0], SUCCESS, 0.0)
    raise_alerts(outbox, 0)
    line.delivery.acknowledged(line.drain()[0][0], NOT_AUTHORIZED, 0.0)
    raise_alerts(outbox, 1)
    assert line.drain(0.5) == []
    assert alerts(line.drain(1.0)) == [(0, True)]


def test_state_flows_while_alerts_are_held(line: Line, outbox: Outbox) -> None:
    connect(line)
    raise_alerts(outbox, 0)
    line.delivery.acknowledged(line.drain()[-1][0], NOT_AUTHORIZED, 0.0)
    line.delivery.remember([state("s")])
    assert [one.message.topic for _, one in line.drain(0.5)] == ["s"]


def empty(topic: str) -> Message:
    return state(topic, b"", qos=0)


def test_leftovers_are_taken_back_once_but_never_what_this_run_said(line: Line) -> None:
    connect(line)
    line.delivery.remember([state("said")])
    line.delivery.take_back([empty("said"), empty("left"), empty("said later")])
    line.delivery.remember([state("said later")])
    assert not line.delivery.settled
    sent = [(one.message.topic, one.message.payload) for _, one in line.drain()]
    assert sent == [("p/n/status", b"online"), ("left", b""), ("said", b"1"), ("said later", b"1")]
    connect(line)
    assert "left" not in {one.message.topic for _, one in line.drain()}


def test_a_leftover_that_is_found_again_is_not_taken_back_again(line: Line) -> None:
    connect(line)
    line.delivery.take_back([state("left", b"None", qos=0), empty("left")])
    line.drain()
    line.delivery.take_back([state("left", b"None", qos=0), empty("left")])
    assert line.drain() == []


def test_what_is_said_after_a_leftover_was_taken_back_comes_after_it(line: Line) -> None:
    connect(line)
    line.delivery.take_back([empty("s")])
    before = line.drain()
    line.delivery.remember([state("s")])
    assert [one.message.payload for _, one in [*before, *line.drain()]] == [b"online", b"", b"1"]


def test_leftovers_wait_for_room_and_end_with_the_connection(line: Line) -> None:
    connect(line)
    line.delivery.take_back(empty(f"left {number}") for number in range(2 * UNWRITTEN_WINDOW))
    sent = line.drain()
    assert len(sent) == 1 + UNWRITTEN_WINDOW
    line.delivery.acknowledged(sent[-1][0], SUCCESS, 0.0)
    assert len(line.drain()) == 1
    connect(line)
    assert len(line.drain()) == 1


def test_what_the_broker_calls_too_large_is_not_sent(
    line: Line, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    connect(line, largest_bytes=200)
    outbox.append("a", 0, "p/n/alert", b"{" + b" " * 300 + b"}")
    raise_alerts(outbox, 1)
    line.delivery.remember([state("snapshot", b"x" * 300), state("s")])
    sent = line.drain()
    assert alerts(sent) == [(1, False)]
    assert [one.message.topic for _, one in sent] == ["p/n/status", "p/n/alert", "s"]
    assert outbox.counts.rejected == 1
    assert line.delivery.counts.oversized == 1
    assert "takes at most 200" in caplog.text


def test_a_warning_repeats_at_most_once_a_second_with_the_count(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    quiet = RateLimitedLog(logging.getLogger("test"), clock)
    for _ in range(10):
        quiet.warning("refused", "no")
    clock.advance(1.0)
    quiet.warning("refused", "no")
    quiet.warning("other", "neither")
    assert caplog.messages == ["no", "no (and 9 more like it)", "neither"]


def test_kinds_that_come_from_outside_do_not_fill_the_memory(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    quiet = RateLimitedLog(logging.getLogger("test"), clock)
    for number in range(MOST_KINDS + 1):
        quiet.warning(f"command {number}", "no")
    caplog.clear()
    quiet.warning(f"command {MOST_KINDS}", "remembered")
    quiet.warning("command 0", "forgotten")
    assert caplog.messages == ["forgotten"]


def test_an_alert_that_is_no_json_any_more_holds_up_nobody(outbox: Outbox, line: Line) -> None:
    outbox.append("a", 0, "p/n/alert", b'{"seq": 0, "repl\xffyed": fal')
    raise_alerts(outbox, 1)
    line.delivery.connected(ONLINE, window=None, largest_bytes=None)
    sent = [outgoing.message.payload for _, outgoing in line.drain() if outgoing.row is not None]
    assert [json.loads(payload)["seq"] for payload in sent] == [1]
    assert outbox.counts.rejected == 1


def test_an_alert_that_is_late_for_any_reason_says_so(line: Line, outbox: Outbox, clock: ManualClock) -> None:
    """The broker has the connection, and takes its time: whoever opens gates must not open one now."""
    connect(line)
    raise_alerts(outbox, *range(6))
    first = line.drain()
    assert alerts(first) == [(0, False), (1, False), (2, False)]
    clock.advance(LATE_AFTER_S + 0.1)
    raise_alerts(outbox, 6)
    for mid, _ in first:
        line.delivery.acknowledged(mid, SUCCESS, clock.monotonic_s())
    assert alerts(line.drain()) == [(3, True), (4, True), (5, True), (6, False)]


def test_an_alert_is_worth_less_the_longer_it_waited(line: Line, outbox: Outbox, clock: ManualClock) -> None:
    raise_alerts(outbox, 0)
    clock.advance(1000.5)
    raise_alerts(outbox, 1)
    connect(line)
    assert [one.message.left_s for _, one in line.drain() if one.row is not None] == [85_399, 86_400]

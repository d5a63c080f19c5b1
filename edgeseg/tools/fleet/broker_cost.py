"""Broker cost: what one message costs a broker, sent as prepared packets to leave out the client's cost.

paho would spend more on a message than mosquitto does. These are MQTT 3.1.1's simplest packets (sections
3.1, 3.3, 3.8), at QoS 0, to a mosquitto of this machine.
"""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from edgeseg.clock import awake_s
from edgeseg.errors import EdgesegError

_CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01%s"
_PATIENCE_S = 60.0
_PER_TURN = 500


@dataclass(frozen=True, slots=True)
class BrokerCost:
    """messages were taken in, retained, and given to one subscriber. cpu_s: of the broker. wall_s: until the
    last arrived. memory_bytes: what its resident memory grew by. topics: how many it retains."""

    messages: int
    topics: int
    size_bytes: int
    cpu_s: float
    wall_s: float
    memory_bytes: int


def measure(
    port: int, pid: int, *, topics: int = 4000, size_bytes: int = 300, rounds: int = 20
) -> BrokerCost:
    """Every topic once a round. pid: the broker's. Raises EdgesegError where not all messages arrive."""
    turn = [
        _publish(f"edgeseg/n{number // 64}/c{number % 64}/occupancy", size_bytes) for number in range(topics)
    ]
    chunks = [b"".join(turn[first : first + _PER_TURN]) for first in range(0, topics, _PER_TURN)]
    before = _resident_bytes(pid)
    with _connected(port, b"s") as listener, _connected(port, b"p") as speaker:
        listener.sendall(b"\x82\x0e\x00\x01\x00\x09edgeseg/#\x00")
        _exactly(listener, 5)
        cpu_s, began_s = _cpu_s(pid), awake_s()
        for chunk in chunks * rounds:
            speaker.sendall(chunk)
            # More at once than a subscriber takes is dropped, at QoS 0.
            _exactly(listener, len(chunk))
        return BrokerCost(
            rounds * topics, topics, size_bytes, _cpu_s(pid) - cpu_s, awake_s() - began_s,
            _resident_bytes(pid) - before,
        )  # fmt: skip


def _connected(port: int, name: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
    connection.sendall(_CONNECT % name)
    _exactly(connection, 4)
    return connection


def _exactly(connection: socket.socket, count: int) -> None:
    left = count
    while left:
        try:
            got = len(connection.recv(min(left, 1 << 20)))
        except TimeoutError:
            got = 0
        if not got:
            raise EdgesegError(f"the broker dropped messages: {left:,} of {count:,} bytes did not arrive")
        left -= got


def _publish(topic: str, size_bytes: int) -> bytes:
    """Retained, QoS 0. The subscriber gets it without the flag, in as many bytes."""
    body = struct.pack(">H", len(topic)) + topic.encode() + b"x" * size_bytes
    return bytes([0x31, len(body) & 0x7F | 0x80, len(body) >> 7]) + body


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")

"""A process that publishes until it is killed.

``python -m tests.support.publish_child PORT OUTBOX COUNT [FIRST]``

Prints the number of each alert once ``send`` has returned, and ``connected`` when it is; then waits for
standard input to end, and closes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from edgeseg.clock import SystemClock
from edgeseg.publish.mqtt.outbox import Outbox
from edgeseg.publish.mqtt.publisher import MqttPublisher
from edgeseg.publish.topics import Topics
from edgeseg.settings import MqttSettings
from tests.support.broker import wait_until
from tests.support.publish_events import alert


def main(port: int, outbox: Path, count: int, first: int) -> None:
    clock = SystemClock()
    publisher = MqttPublisher(
        MqttSettings("127.0.0.1", port, False, None, None, None, None, "edgeseg"),
        Topics("edgeseg", "gatehouse", boot="child", clock=clock),
        Outbox(outbox, clock),
        clock,
        reconnect_s=(0.1, 0.5),
    )
    with publisher:
        for seq in range(first, first + count):
            publisher.send(alert(seq))
            print(seq, flush=True)
        if count == 0:
            wait_until(lambda: publisher.connected, "a connection")
            print("connected", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int((sys.argv[4:] or ["0"])[0]))

"""Process: one instance a node, signals, memory of the interpreter, a new process in place of a stuck one."""

from __future__ import annotations

import gc
import hashlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from edgeseg.clock import awake_s
from edgeseg.errors import ConfigError, Problem
from edgeseg.settings import PipelineSettings

DISK_PATIENCE_S = 2.0
# Set for the process that takes the place of one that was stuck.
STARTED_AGAIN = "EDGESEG_STARTED_AGAIN"
Handler = Callable[[int, FrameType | None], object] | int | None


def reap_orphans() -> None:
    """The fork server of the process whose place this one took is ending: it is this one's child now."""
    if os.environ.pop(STARTED_AGAIN, None) is None:
        return
    until_s, pause = awake_s() + DISK_PATIENCE_S, threading.Event()
    with suppress(ChildProcessError):
        while awake_s() < until_s:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                pause.wait(0.05)


def freeze_memory() -> None:
    """What the start has made stays: frozen, it is not looked at again, and a collection takes a millisecond.

    One every half minute also empties CPython's lists of free objects. Left to itself it comes so rarely
    that these fill up for hours, by 2 MiB in the first, which looks like a leak and hides one.
    """
    gc.collect()
    gc.freeze()


@contextmanager
def single_instance(settings: PipelineSettings) -> Iterator[None]:
    """Two daemons that speak as one node would throw each other off the broker for ever.

    The lock is an abstract socket (unix(7)): it spans users, services and state folders of a machine, and
    the kernel removes it whatever happens. Raises ConfigError.
    """
    mqtt = settings.mqtt
    if mqtt is None:
        yield
        return
    identity = f"{mqtt.prefix}/{settings.node} at {mqtt.host}:{mqtt.port}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as lock:
        try:
            lock.bind("\0edgeseg-" + hashlib.sha256(identity.encode()).hexdigest())
        except OSError:
            message = (
                f"another edgeseg on this machine is {identity} already; give each file a node of its own"
            )
            raise ConfigError([Problem(settings.file, 0, 0, "node", message)]) from None
        yield


@contextmanager
def signal_handlers(handlers: dict[signal.Signals, Handler]) -> Iterator[None]:
    before: dict[signal.Signals, Handler] = {}
    for number, handler in handlers.items():
        before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

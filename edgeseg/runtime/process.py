"""Process: one instance a node, signals, memory of the interpreter, a new process in place of a stuck one."""

from __future__ import annotations

import faulthandler
import gc
import hashlib
import logging
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from edgeseg.clock import awake_s
from edgeseg.errors import ConfigError, Problem
from edgeseg.settings import PipelineSettings
from edgeseg.state.node_state import NodeState
from edgeseg.system.systemd import notify

log = logging.getLogger(__name__)

# Exit code: something hung and could not be ended in any other way.
EXIT_STUCK = 3
_DISK_PATIENCE_S = 2.0
# Restarts after hangs: a few are free, then each waits longer than the one before.
_FREE_RESTARTS = 3
_RESTARTS_WITHIN_S = 600.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 10.0, 120.0
# Set for the process that takes the place of one that was stuck.
_STARTED_AGAIN = "EDGESEG_STARTED_AGAIN"
Handler = Callable[[int, FrameType | None], object] | int | None


def reap_orphans() -> None:
    """The fork server of the process whose place this one took is ending: it is this one's child now."""
    if os.environ.pop(_STARTED_AGAIN, None) is None:
        return
    until_s, pause = awake_s() + _DISK_PATIENCE_S, threading.Event()
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


def pause_after_hangs(state: NodeState, wake: queue.SimpleQueue[None]) -> None:
    """Wait where the processes before this one hung again and again. wake: ends the wait."""
    past = state.past
    recent = [ago_s for ago_s in past.stuck_ago_s if ago_s < _RESTARTS_WITHIN_S]
    if past.unplanned and past.down is not None:
        log.warning(
            "the process before ended %.0f s ago: %s; unplanned restarts in 24 h: %d",
            past.down.duration_s,
            past.ended,
            past.restarts,
        )
    if len(recent) <= _FREE_RESTARTS:
        return
    pause_s = min(_FIRST_PAUSE_S * 2 ** (len(recent) - _FREE_RESTARTS - 1), _LONGEST_PAUSE_S)
    log.error("stuck %d times in %.0f s; beginning in %.0f s", len(recent), max(recent), pause_s)
    notify(f"STATUS=stuck {len(recent)} times in {max(recent):.0f} s; beginning in {pause_s:.0f} s")
    with suppress(queue.Empty):
        wake.get(timeout=pause_s)


def restart_stuck_process(state: NodeState, what: str, *, stopping: bool) -> NoReturn:
    """End this process, which hangs: systemd starts it again; without systemd a new one takes its place.

    What the rules know is on disk already, but for the last second. what: hangs, in words.
    """
    log.critical("stuck: %s; ending to begin anew. What each thread was doing:", what)
    faulthandler.dump_traceback()
    # The disk may be what hangs.
    note = threading.Thread(target=state.end, args=(f"stuck: {what}",), daemon=True)
    note.start()
    note.join(_DISK_PATIENCE_S)
    notify(f"STATUS=stuck: {what}")
    if stopping or "NOTIFY_SOCKET" in os.environ:
        os._exit(EXIT_STUCK)
    # Nothing else would start it again. Camera processes end with their link to this one.
    os.environ[_STARTED_AGAIN] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

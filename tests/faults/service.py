"""What systemd does for the daemon, as far as a fault suite needs it: watchdog, and restart on failure.

The real unit under the real systemd has a test of its own; here the same rules run anywhere.
"""

from __future__ import annotations

import re
import signal
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT
from tests.support.daemon import Daemon

UNIT = ROOT / "systemd" / "edgeseg@.service"
_POLL_S = 0.05


def unit_seconds(key: str) -> float:
    """A setting of the unit that is shipped, e.g. ``WatchdogSec``."""
    found = re.search(rf"^{key}=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert found, f"{UNIT.name} has no {key}"
    return float(found[1])


@dataclass(frozen=True)
class End:
    """One life that ended. at_s: monotonic. watchdog: it was killed for not progressing."""

    at_s: float
    code: int
    watchdog: bool
    log: str


class Service:
    """Keeps a daemon going until the end of the ``with``."""

    def __init__(self, pipeline: Path, state: Path, environment: Mapping[str, str] | None = None) -> None:
        self.ends: list[End] = []
        self.pings: list[float] = []
        self._pipeline = pipeline
        self._socket_path = state.parent / "notify"
        self._watchdog_s = unit_seconds("WatchdogSec")
        self._restart_s = unit_seconds("RestartSec")
        self._environment = {
            **(environment or {}),
            "XDG_STATE_HOME": str(state),
            "NOTIFY_SOCKET": str(self._socket_path),
            "WATCHDOG_USEC": str(int(self._watchdog_s * 1e6)),
        }
        self._stop = threading.Event()

    def __enter__(self) -> Service:
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._channel.bind(str(self._socket_path))
        self._channel.settimeout(_POLL_S)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._channel.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            with Daemon(self._pipeline, self._environment) as daemon:
                self.daemon = daemon
                watchdog = self._until_it_ends(daemon)
                if self._stop.is_set():
                    daemon.stop()
                    return
                self.ends.append(End(time.monotonic(), daemon.process.returncode, watchdog, daemon.log))
            self._stop.wait(self._restart_s)

    def _until_it_ends(self, daemon: Daemon) -> bool:
        """Whether it was the watchdog that ended it. It counts from READY=1 on."""
        alive_s: float | None = None
        while daemon.process.poll() is None and not self._stop.is_set():
            with suppress(TimeoutError):
                said = self._channel.recv(4096).decode()
                if "WATCHDOG=1" in said or "READY=1" in said:
                    alive_s = time.monotonic()
                    self.pings.append(alive_s)
            if alive_s is not None and time.monotonic() - alive_s > self._watchdog_s:
                daemon.process.send_signal(signal.SIGABRT)
                daemon.process.wait(240)
                return True
        return False

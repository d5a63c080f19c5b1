"""systemd notification: reports readiness, state and watchdog by sd_notify(3)."""

from __future__ import annotations

import logging
import os
import socket

log = logging.getLogger(__name__)


def notify(*assignments: str) -> None:
    """Send e.g. ``READY=1``, ``STATUS=...``, ``WATCHDOG=1``. Does nothing when not run by systemd.

    Source of the protocol: sd_notify(3), section "Environment"; a leading ``@`` is the abstract namespace.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        # A manager that does not listen must not hold the daemon up.
        channel.setblocking(False)
        try:
            channel.connect(address)
            channel.send("\n".join(assignments).encode())
        except OSError as error:
            log.debug("systemd did not receive %s: %s", assignments[0], error)


def watchdog_interval_s() -> float | None:
    """Half of systemd's WatchdogSec, as sd_watchdog_enabled(3) advises; None when it is off."""
    timeout_us = os.environ.get("WATCHDOG_USEC", "")
    return int(timeout_us) / 2e6 if timeout_us.isdigit() and int(timeout_us) > 0 else None

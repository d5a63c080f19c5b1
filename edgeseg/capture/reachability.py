"""TCP reachability: one connect to a camera that was off, cheaper than a camera process."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from edgeseg.sources.network import PORTS

_ANSWERS_WITHIN_S = 0.5


def answers(url: str) -> bool | None:
    """Return whether a network camera accepts connections.

    None where that cannot be decided at once: a host by name, whose look-up could not be interrupted, or a
    source that is no network address. Takes half a second at most.
    """
    try:
        parts = urlsplit(url)
        address = str(ipaddress.ip_address(parts.hostname or "")), parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    try:
        socket.create_connection(address, _ANSWERS_WITHIN_S).close()
    except OSError:
        return False
    return True

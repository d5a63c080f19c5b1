"""Whether a broker can be reached and trusted, and why not, in words."""

from __future__ import annotations

import ssl
import sys

from edgeseg.errors import PublishError


def failure_words(*, tls: bool) -> str:
    """Why no connection came about; to be called in paho's ``on_connect_fail``."""
    # paho calls that while it handles the exception, and does not pass it on.
    error = sys.exc_info()[1]
    words = getattr(error, "strerror", None) or str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if tls and _in_handshake(error):
        return (
            f"the TLS handshake fails: {words}; the broker may not speak TLS on this port: use mqtt://,"
            " or its TLS port (usually 8883)"
        )
    return words


def _in_handshake(error: BaseException | None) -> bool:
    """Whether the port took the connection and then talked no TLS. An alert is TLS."""
    if isinstance(error, ssl.SSLError):
        return "ALERT" not in (error.reason or "")
    return isinstance(error, ConnectionResetError) or "handshake" in str(error)


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Verifies the broker, by this authority or the system's. Raises PublishError for a file that is none."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise PublishError(
            f"mqtt.ca_file: {ca_file}: {error.strerror or error}; expected a PEM file with the certificate"
            " of the authority that signed the broker's"
        ) from error


def check_host(host: str) -> None:
    """Raises PublishError for what cannot be a host name."""
    # paho's thread would die of the UnicodeError that socket raises for such a name.
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise PublishError(f"mqtt.url: {host!r} cannot be a host name: {error}") from error

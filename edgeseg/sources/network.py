"""Network source: cameras and streams by RTSP over TCP or by HTTP."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

from edgeseg.clock import Clock
from edgeseg.errors import SourceError
from edgeseg.settings import DecodeName
from edgeseg.sources.decode import Opening, UnclearError
from edgeseg.sources.video_source import VideoSource

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}

# Half a second of packets shows a camera's codec and size; libav's own five cost five seconds' delay.
_RTSP_OPTIONS = {
    "rtsp_transport": "tcp",
    "analyzeduration": "500000",
    "probesize": "500000",
    "protocol_whitelist": "rtsp,rtsps,rtp,tcp,tls,http,https",
}
_HTTP_OPTIONS = {"protocol_whitelist": "http,https,tcp,tls,crypto,hls"}


class NetworkSource(VideoSource):
    """An ``rtsp``, ``rtsps``, ``http`` or ``https`` URL. RTSP runs over TCP.

    A mute server is noticed after at most twice the timeouts. Certificates are not verified: cameras
    sign their own.
    """

    def __init__(
        self,
        url: str,
        *,
        shown: str,
        clock: Clock | None = None,
        epoch_s: float | None = None,
        open_timeout_s: float = 5.0,
        read_timeout_s: float = 3.0,
        decode: DecodeName = "software",
    ) -> None:
        rtsp = url.startswith("rtsp")
        opening = Opening(
            url,
            shown,
            options=_RTSP_OPTIONS if rtsp else _HTTP_OPTIONS,
            open_timeout_s=open_timeout_s,
            read_timeout_s=read_timeout_s,
            decode=decode,
        )
        super().__init__(opening, live=True if rtsp else None, clock=clock, epoch_s=epoch_s)
        self._url = url
        self._open_timeout_s = open_timeout_s

    def __enter__(self) -> NetworkSource:
        try:
            super().__enter__()
        except UnclearError:
            _check_reachable(self._url, self.shown, self._open_timeout_s)
            raise
        return self


def _check_reachable(url: str, shown: str, timeout_s: float) -> None:
    """Raise the SourceError that libav does not give: of an unknown host, or of TLS that fails."""
    try:
        parts = urlsplit(url)
        address = (parts.hostname or "", parts.port or PORTS[parts.scheme])
    except ValueError:
        raise SourceError("not_found", f"{shown}: not a URL; percent-encode what is special in it") from None
    try:
        with socket.create_connection(address, timeout_s) as connection:
            if parts.scheme in ("rtsps", "https"):
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                context.wrap_socket(connection, server_hostname=address[0]).close()
    except socket.gaierror:
        raise SourceError("not_found", f"{shown}: the host name is unknown; check it") from None
    except ssl.SSLError as error:
        raise SourceError("tls", f"{shown}: no TLS with this server: {error.reason}") from None
    except TimeoutError:
        raise SourceError("timeout", f"{shown}: no answer within {timeout_s:g} s") from None
    except OSError as error:
        raise SourceError("refused", f"{shown}: {error.strerror or 'the connection failed'}") from None

"""Camera discovery: finds ONVIF cameras in the network with WS-Discovery, by one multicast datagram.

OASIS WS-Discovery 1.1 (April 2005 version); ONVIF Core Specification 7.3.2. An answer has the maker
and address of a camera; its streams need a login.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import uuid
import xml.etree.ElementTree as Xml
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from edgeseg.clock import Clock

GROUP, PORT = "239.255.255.250", 3702
# Devices wait up to half a second before they answer.
LISTEN_S = 3.0
# UDP loses datagrams, and devices sleep.
_QUESTIONS = 2
_MOST_ANSWERS = 256
_LARGEST_ANSWER_BYTES = 65_535

_PROBE = """<?xml version="1.0" encoding="UTF-8"?>
<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"
 xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing"
 xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"
 xmlns:dn="http://www.onvif.org/ver10/network/wsdl">
<e:Header><w:MessageID>urn:uuid:{id}</w:MessageID>
<w:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To>
<w:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</w:Action></e:Header>
<e:Body><d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe></e:Body>
</e:Envelope>"""

# Where the substream of a vendor's cameras usually is; {host} is the camera's.
_STREAMS = (
    (r"hikvision|annke|ezviz|hilook|^ds-", "rtsp://{host}:554/Streaming/Channels/102"),
    (r"dahua|amcrest|lorex|^ipc-hf|^dh-", "rtsp://{host}:554/cam/realmonitor?channel=1&subtype=1"),
    (r"reolink", "rtsp://{host}:554/h264Preview_01_sub"),
    (r"tp-?link|tapo|vigi", "rtsp://{host}:554/stream2"),
    (r"axis", "rtsp://{host}:554/axis-media/media.amp?resolution=640x360&fps=10"),
    (r"foscam", "rtsp://{host}:554/videoSub"),
    (r"uniview|^ipc\d", "rtsp://{host}:554/media/video2"),
)


@dataclass(frozen=True, slots=True)
class FoundCamera:
    """Who answered. name, model: as it calls itself, may be empty; from the network, so not to be believed.
    stream: where cameras of that maker usually have their substream, None where that is not known."""

    host: str
    name: str
    model: str

    @property
    def stream(self) -> str | None:
        for pattern, address in _STREAMS:
            if re.search(pattern, self.name, re.IGNORECASE) or re.search(pattern, self.model, re.IGNORECASE):
                return address.format(host=self.host)
        return None


def discover(
    clock: Clock,
    listen_s: float = LISTEN_S,
    group: tuple[str, int] = (GROUP, PORT),
    interface: str | None = None,
) -> tuple[FoundCamera, ...]:
    """Ask the local network, listen for ``listen_s``. Sorted by host. interface: whose address to ask from;
    None leaves it to the routing table. Raises OSError where no multicast can be sent."""
    found: dict[str, FoundCamera] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        if interface is not None:
            line.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 200_000))
        question = _PROBE.format(id=uuid.uuid4()).encode()
        for _ in range(_QUESTIONS):
            line.sendto(question, group)
        until_s = clock.monotonic_s() + listen_s
        while clock.monotonic_s() < until_s and len(found) < _MOST_ANSWERS:
            with contextlib.suppress(BlockingIOError, InterruptedError):
                answer, sender = line.recvfrom(_LARGEST_ANSWER_BYTES)
                for camera in read_answer(answer, sender[0]):
                    found.setdefault(camera.host, camera)
    return tuple(sorted(found.values(), key=lambda camera: socket.inet_aton(camera.host)))


def read_answer(answer: bytes, sender: str) -> Iterator[FoundCamera]:
    """The cameras in a ProbeMatches message; none in what is no such message. sender: its IPv4 address."""
    # What needs entities or a document type is no answer of a camera, and could be an attack on the parser.
    if b"<!" in answer:
        return
    try:
        root = Xml.fromstring(answer)
    except (Xml.ParseError, ValueError):
        return
    for match in root.iter("{http://schemas.xmlsoap.org/ws/2005/04/discovery}ProbeMatch"):
        kinds = _text(match, "Types")
        if "NetworkVideoTransmitter" not in kinds and "Device" not in kinds:
            continue
        scopes = [unquote(word) for word in _text(match, "Scopes").split()]
        yield FoundCamera(
            _host(_text(match, "XAddrs"), sender), _scope(scopes, "name"), _scope(scopes, "hardware")
        )


def _text(match: Xml.Element, name: str) -> str:
    return match.findtext(f"{{http://schemas.xmlsoap.org/ws/2005/04/discovery}}{name}") or ""


def _scope(scopes: list[str], kind: str) -> str:
    """``onvif://www.onvif.org/name/ACME%20Cam`` -> ``ACME Cam``, printable and short."""
    start = f"onvif://www.onvif.org/{kind}/"
    value = next((scope.removeprefix(start) for scope in scopes if scope.startswith(start)), "")
    return "".join(char for char in value if char.isprintable())[:60]


def _host(addresses: str, sender: str) -> str:
    """The IPv4 address it names of itself, where it is one; else the one that it answered from."""
    for address in addresses.split():
        with contextlib.suppress(ValueError, OSError):
            host = urlsplit(address).hostname or ""
            socket.inet_aton(host)
            if host.count(".") == 3 and not host.startswith(("169.254.", "127.")):
                return host
    return sender

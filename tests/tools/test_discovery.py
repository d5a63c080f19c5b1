"""WS-Discovery with a small responder on loopback multicast."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edgeseg.clock import SystemClock
from edgeseg.tools.doctor.discovery import GROUP, FoundCamera, discover, read_answer
from tests.conftest import missing

LOOPBACK = "127.0.0.1"

ANSWER = """<?xml version="1.0"?>
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"
 xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"
 xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery">
<s:Header><a:RelatesTo>{id}</a:RelatesTo></s:Header>
<s:Body><d:ProbeMatches><d:ProbeMatch>
<d:Types>dn:NetworkVideoTransmitter tds:Device</d:Types>
<d:Scopes>onvif://www.onvif.org/type/video_encoder onvif://www.onvif.org/hardware/{model}
 onvif://www.onvif.org/name/{name}</d:Scopes>
<d:XAddrs>http://{host}/onvif/device_service</d:XAddrs>
</d:ProbeMatch></d:ProbeMatches></s:Body></s:Envelope>"""


def answer(host: str, name: str, model: str, to: str = "urn:uuid:0") -> bytes:
    return ANSWER.format(id=to, host=host, name=name, model=model).encode()


@contextmanager
def cameras(*answers: tuple[str, str, str]) -> Iterator[int]:
    """Answers on a port of its own, so that real devices are not asked."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("", 0))
        membership = socket.inet_aton(GROUP) + socket.inet_aton(LOOPBACK)
        try:
            line.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        except OSError:
            missing("multicast on loopback")
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 100_000))
        over = threading.Event()

        def respond() -> None:
            while not over.is_set():
                try:
                    question, sender = line.recvfrom(65_535)
                except BlockingIOError:
                    continue
                to = re.search(rb"MessageID>([^<]+)<", question)
                assert b"dn:NetworkVideoTransmitter" in question
                for one in answers:
                    line.sendto(answer(*one, to=to[1].decode() if to else ""), sender)
                line.sendto(b"\xff not XML", sender)

        thread = threading.Thread(target=respond)
        thread.start()
        try:
            yield line.getsockname()[1]
        finally:
            over.set()
            thread.join()


def test_cameras_that_answer_each_once() -> None:
    with cameras(
        ("10.0.0.9", "HIKVISION%20DS-2CD2143", "DS-2CD2143"), ("10.0.0.10", "Garage", "C200")
    ) as port:
        found = discover(SystemClock(), 0.6, (GROUP, port), LOOPBACK)
    assert found == (
        FoundCamera("10.0.0.9", "HIKVISION DS-2CD2143", "DS-2CD2143"),
        FoundCamera("10.0.0.10", "Garage", "C200"),
    )
    assert found[0].stream == "rtsp://10.0.0.9:554/Streaming/Channels/102"
    assert found[1].stream is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<a>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        answer("10.0.0.9", "x", "y").replace(b"NetworkVideoTransmitter", b"Printer").replace(b"Device", b"P"),
    ],
)
def test_what_is_no_answer_of_a_camera(text: bytes) -> None:
    assert not list(read_answer(text, "10.0.0.7"))


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.3.4", "camera.local", "[fe80::1]", "["])
def test_an_address_that_nobody_reaches_is_not_taken(host: str) -> None:
    (camera,) = read_answer(answer(host, "Reolink%0A%1b[31m", "RLC"), "10.0.0.7")
    assert camera == FoundCamera("10.0.0.7", "Reolink[31m", "RLC")
    assert camera.stream == "rtsp://10.0.0.7:554/h264Preview_01_sub"

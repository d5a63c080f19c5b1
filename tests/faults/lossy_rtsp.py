"""RTP over UDP that loses packets on its way.

The kernel of a test machine may have no netem. This relay asks the camera for RTP over UDP, loses a seeded
share of the datagrams, and hands on what is left interleaved in the RTSP connection (RFC 2326, 10.12), as a
recorder between camera and edgeseg does. Sequence numbers keep their holes.
"""

from __future__ import annotations

import random
import re
import selectors
import socket
import threading
from contextlib import ExitStack, suppress

_POLL_S = 0.05
_SETUP = re.compile(rb"RTP/AVP/TCP;unicast;interleaved=(\d+)-(\d+)[^\r]*")
_ANSWER = re.compile(rb"RTP/AVP;unicast;client_port=[^\r]*")


class LossyRtsp:
    """One track for each client. loss: 0-1, the share of RTP packets that vanish."""

    def __init__(self, camera_port: int, loss: float, seed: int) -> None:
        self.loss = loss
        self.passed = 0
        self.lost = 0
        self._camera_port = camera_port
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> LossyRtsp:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_POLL_S)
        self.port = int(self._listener.getsockname()[1])
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            with suppress(TimeoutError):
                client, _ = self._listener.accept()
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with ExitStack() as stack, suppress(OSError):
            stack.enter_context(client)
            camera = stack.enter_context(socket.create_connection(("127.0.0.1", self._camera_port)))
            rtp, rtcp = _pair(stack)
            ports = b"RTP/AVP;unicast;client_port=%d-%d" % (rtp.getsockname()[1], rtcp.getsockname()[1])
            channels = b"0-1"
            ready = stack.enter_context(selectors.DefaultSelector())
            for end in (client, camera, rtp, rtcp):
                ready.register(end, selectors.EVENT_READ)
            while not self._stop.is_set():
                for key, _ in ready.select(_POLL_S):
                    end = key.fileobj
                    data = end.recv(65536)  # type: ignore[union-attr]
                    if end is client:
                        if not data:
                            return
                        if asked := _SETUP.search(data):
                            channels = b"%s-%s" % (asked[1], asked[2])
                        if not data.startswith(b"$"):
                            camera.sendall(_SETUP.sub(ports, data))
                    elif end is camera:
                        if not data:
                            return
                        tcp = b"RTP/AVP/TCP;unicast;interleaved=" + channels
                        client.sendall(_ANSWER.sub(tcp, data))
                    else:
                        self._hand_on(client, int(channels.split(b"-")[end is rtcp]), data, end is rtp)

    def _hand_on(self, client: socket.socket, channel: int, packet: bytes, may_vanish: bool) -> None:
        if may_vanish and self._random.random() < self.loss:
            self.lost += 1
            return
        self.passed += 1
        client.sendall(b"$" + bytes([channel]) + len(packet).to_bytes(2, "big") + packet)


def _pair(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    """Two UDP sockets on neighbouring ports, the first one even (RFC 3550, 11)."""
    while True:
        rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        rtp.bind(("127.0.0.1", 0))
        port = rtp.getsockname()[1]
        rtcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            if port % 2:
                raise OSError
            rtcp.bind(("127.0.0.1", port + 1))
        except OSError:
            rtp.close()
            rtcp.close()
            continue
        return stack.enter_context(rtp), stack.enter_context(rtcp)

"""A real RTSP server that plays clips, and can be frozen, killed, locked and switched."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import av
from av.bitstream import BitStreamFilterContext

from tests.conftest import missing
from tests.support.passwords import used

PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("rtsp_server.py")
READY_WITHIN_S = 60.0


@lru_cache(maxsize=1)
def rtsp_server_is_there() -> bool:
    """Whether the system's Python has GStreamer's RTSP server."""
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    if not Path(PYTHON).exists():
        return False
    return (
        subprocess.run([PYTHON, "-c", probe], capture_output=True, check=False, timeout=280).returncode == 0
    )


def require_rtsp_server() -> None:
    """Skip (fail on CI) where the server's packages are not installed."""
    if not rtsp_server_is_there():
        missing("the RTSP server (Debian: gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-*)")


@dataclass(frozen=True, slots=True)
class _Clip:
    data: str
    units: list[list[int]]
    fps: float
    codec: str


def _access_units(clip: Path, into: Path) -> _Clip:
    """Take a clip's H.264 or HEVC access units out, in Annex B, since the server's Python has no PyAV."""
    units: list[list[int]] = []
    offset = 0
    with av.open(str(clip)) as container, into.open("wb") as data:
        stream = container.streams.video[0]
        codec = stream.codec_context.name
        annex_b = BitStreamFilterContext(f"{codec}_mp4toannexb", stream)
        for packet in container.demux(stream):
            for unit in annex_b.filter(packet):
                if unit.size:
                    data.write(bytes(unit))
                    units.append([offset, unit.size, int(unit.is_keyframe)])
                    offset += unit.size
        return _Clip(str(into), units, float(stream.average_rate or 25), codec)


class RtspServer:
    """``with RtspServer(clip) as server: open(server.url)``; every client sees the clip from its start.

    clips: one H.264 or HEVC file, or several of them (of any size, but one codec) for ``switch``.
    user, password: ask for them, by Basic authentication or Digest. fps: None for the first clip's own.
    loop: start again at the clip's end instead of ending the stream.
    port: None for any that is free; a camera that comes back has its old one. paths: more streams, each
    with the number of the clip that it plays, as cameras have a main and a substream.
    """

    def __init__(
        self,
        *clips: Path,
        user: str | None = None,
        password: str | None = None,
        digest: bool = False,
        fps: float | None = None,
        loop: bool = True,
        port: int | None = None,
        paths: dict[str, int] | None = None,
    ) -> None:
        self._clips = clips
        self._user = user
        self._password = password
        used(password)
        self._digest = digest
        self._fps = fps
        self._loop = loop
        self._port = port or 0
        self._paths = paths or {}

    def __enter__(self) -> RtspServer:
        require_rtsp_server()
        self._folder = Path(tempfile.mkdtemp(prefix="rtsp-"))
        clips = [_access_units(clip, self._folder / f"{i}.h264") for i, clip in enumerate(self._clips)]
        plan = {
            "fps": self._fps or clips[0].fps,
            "loop": self._loop,
            "port": self._port,
            "codec": clips[0].codec,
            "user": self._user,
            "password": self._password,
            "digest": self._digest,
            "paths": self._paths,
            "clips": [{"data": clip.data, "units": clip.units} for clip in clips],
        }
        (self._folder / "feed.json").write_text(json.dumps(plan))
        self._process = subprocess.Popen(
            [PYTHON, str(SCRIPT), str(self._folder / "feed.json")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Environment of the tests' own Python must not reach the system's.
            env={"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/"), "GST_DEBUG": "0"},
        )
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], READY_WITHIN_S)
        line = self._process.stdout.readline() if readable else ""
        if not line.startswith("ready "):
            self.__exit__(None, None, None)
            raise RuntimeError(f"the RTSP server said {line!r} instead of 'ready PORT' in {READY_WITHIN_S} s")
        self._port = int(line.split()[1])
        return self

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        """With the right user and password, where the server asks for them."""
        return self.url_with(self._user, self._password)

    def url_with(self, user: str | None, password: str | None, path: str = "/stream") -> str:
        login = f"{quote(user, safe='')}:{quote(password or '', safe='')}@" if user else ""
        return f"rtsp://{login}127.0.0.1:{self._port}{path}"

    def switch(self, clip: int) -> None:
        """Go on with another of the clips, for every client."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"switch {clip}\n")
        self._process.stdin.flush()

    def freeze(self) -> None:
        """Stop answering without closing anything (SIGSTOP)."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL: the kernel closes the connections, nobody says goodbye. Idempotent."""
        self._process.kill()
        self._process.wait(timeout=280)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)

"""A camera process decodes everything that we say it does, and can do nothing else."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import pickle
import stat
import struct
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from edgeseg.capture.clip_request import ClipRequest
from edgeseg.capture.events import ClipReady
from edgeseg.capture.memory_limit import limit_bytes, memory_excess
from edgeseg.capture.messages import ClipFinished
from edgeseg.capture.sandbox import landlock, seccomp
from edgeseg.capture.sandbox.confine import gaps, harmless, runs_own_code
from edgeseg.capture.wire_format import encode
from edgeseg.errors import SourceError
from edgeseg.frames import U8, Fit, Picture
from edgeseg.sources.open import open_source
from edgeseg.stages.preprocess import Preprocess
from tests.capture.test_capture_process import capture_of, failure, next_frame_time
from tests.conftest import missing
from tests.support.broker import wait_until
from tests.support.daemon import Daemon
from tests.support.rtsp_fixtures import RtspServer

SQUASH = Preprocess("stretch", (64, 48))
CODECS = {
    "libx264": "yuv420p",
    "libx265": "yuv420p",
    "mjpeg": "yuvj420p",
    "mpeg4": "yuv420p",
    "libvpx": "yuv420p",
    "libvpx-vp9": "yuv420p",
    "libsvtav1": "yuv420p10le",
}
MIB = 1 << 20

# Each attempt prints whether it succeeded. What a taken-over decoder would try first.
ATTEMPTS = """\
import json, os, resource, signal, socket, sys, threading
import edgeseg.capture.child
from edgeseg.capture.sandbox.confine import confine
url, secret, parent = sys.argv[1], sys.argv[2], os.getppid()
said = os.dup(1)
confine(url)
def thread():
    worker = threading.Thread(target=int)
    worker.start()
    worker.join()
done = {}
for name, attempt in {
    "read a secret": lambda: open(secret).read(),
    "read /etc/passwd": lambda: open("/etc/passwd").read(),
    "list /": lambda: os.listdir("/"),
    "read the parent's environment": lambda: open(f"/proc/{parent}/environ").read(),
    "read the parent's memory": lambda: open(f"/proc/{parent}/mem", "rb").read(1),
    "write a file": lambda: open(secret + ".new", "w"),
    "make a folder": lambda: os.mkdir(secret + ".d"),
    "remove a file": lambda: os.unlink(secret),
    "change rights": lambda: os.chmod(secret, 0o777),
    "fork": os.fork,
    "start a program": lambda: os.execv("/bin/true", ["true"]),
    "signal its parent": lambda: os.kill(parent, 0),
    "limit its parent": lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE),
    "listen": lambda: socket.create_server(("127.0.0.1", 0)),
    "reach a bus": lambda: socket.socket(socket.AF_UNIX),
    "reach another port": lambda: socket.create_connection(("127.0.0.1", int(sys.argv[3])), 5),
    "sniff": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "take 2 GiB": lambda: bytearray(2 << 30),
    "open a hundred files": lambda: [os.dup(0) for _ in range(100)],
    "type into the terminal": lambda: __import__("fcntl").ioctl(0, 0x5412, b"x"),
    "have a thread": thread,
}.items():
    try:
        attempt()
    except (OSError, MemoryError, RuntimeError) as error:
        done[name] = False
    else:
        done[name] = True
os.write(said, json.dumps(done).encode())
"""


def write_clip(path: Path, codec: str) -> Path:
    with av.open(str(path), "w") as container:
        options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        stream: Any = container.add_stream(codec, rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 128, 96, CODECS[codec]
        for index in range(12):
            picture = np.full((96, 128, 3), 32, np.uint8)
            picture[:, index * 8 : index * 8 + 32] = 200
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=CODECS[codec])
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    # SVT-AV1, run as root, makes its caller a real-time process, and so all that is started later.
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setscheduler(int(thread.name), os.SCHED_OTHER, os.sched_param(0))
    return path


def confinement() -> None:
    """Skip where the kernel has less than these tests are about."""
    if lacking := gaps():
        missing(f"confinement: {lacking}")


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_decodes_in_confinement(codec: str, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", codec)
    with open_source(str(clip)) as source:
        expected = {picture.time.pts_s: SQUASH(picture)[1] for picture in source}
    assert len(expected) == 12
    with capture_of(clip, realtime=False) as capture:
        time = next_frame_time(capture)
        with capture.take() as frame:
            assert frame is not None
            assert np.array_equal(frame.views, expected[time.pts_s])


def status_of(pid: int | None, key: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{key}:"))


def attempts(url: str, secret: Path, port: int) -> dict[str, bool]:
    answer = subprocess.run(
        [sys.executable, "-c", ATTEMPTS, url, str(secret), str(port)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    found: dict[str, bool] = json.loads(answer.stdout)
    return found


def test_a_clip_is_all_there_is(tiny_clip: Path, tmp_path: Path) -> None:
    confinement()
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    with RtspServer(tiny_clip) as server:
        other_port = int(server.url.rpartition(":")[2].partition("/")[0])
        done = attempts(str(tiny_clip), secret, other_port)
    assert {name for name, succeeded in done.items() if succeeded} == {"have a thread"}
    assert secret.read_text() == "s3cret"


def test_a_camera_has_its_own_port_alone(tiny_clip: Path, tmp_path: Path) -> None:
    confinement()
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    with RtspServer(tiny_clip) as camera:
        port = int(camera.url.rpartition(":")[2].partition("/")[0])
        own = attempts(camera.url, secret, port)
        other = attempts("rtsp://127.0.0.1:554/", secret, port)
    assert {name for name, succeeded in own.items() if succeeded} == {"have a thread", "reach another port"}
    assert {name for name, succeeded in other.items() if succeeded} == {"have a thread"}


def test_a_name_is_resolved_in_confinement(tiny_clip: Path) -> None:
    with RtspServer(tiny_clip) as server, capture_of(server.url.replace("127.0.0.1", "localhost")) as capture:
        next_frame_time(capture)
        assert status_of(capture.pid, "Seccomp") == "2"


def test_without_landlock_and_libseccomp_it_decodes_and_says_so(tiny_clip: Path) -> None:
    """A kernel that lacks Landlock, by a filter that answers as it would."""
    if not seccomp.available():
        missing("libseccomp")
    program = (
        "import ctypes, sys\n"
        "library = ctypes.CDLL('libseccomp.so.2')\n"
        "library.seccomp_init.restype = ctypes.c_void_p\n"
        "rules = ctypes.c_void_p(library.seccomp_init(0x7FFF0000))\n"
        "assert library.seccomp_rule_add_array(rules, 0x00050026, 444, 0, None) == 0\n"
        "assert library.seccomp_load(rules) == 0\n"
        "import edgeseg.capture.child\n"
        "from edgeseg.capture.sandbox.confine import confine, gaps\n"
        "from edgeseg.sources.open import open_source\n"
        "print(gaps(), file=sys.stderr)\n"
        "confine(sys.argv[1])\n"
        "with open_source(sys.argv[1]) as source: print(len(list(source)), file=sys.stderr)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(tiny_clip)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert answer.stderr.splitlines() == [
        "no Landlock in this kernel (Linux 5.13 or newer): files stay readable",
        "30",
    ]


PIPELINE = """\
node: gatehouse
model: deeplabv3plus-mnv2-camvid
cameras:
  room:
    source: {source}
    zones: {{table: {{polygon: [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]}}}}
"""


def test_no_environment_reaches_a_camera_process(tiny_clip: Path, tmp_path: Path) -> None:
    place = tmp_path / "credentials"
    place.mkdir()
    with RtspServer(tiny_clip, user="viewer", password="cam-s3cret") as server:
        pipeline = tmp_path / "room.yaml"
        source = "rtsp://viewer:${ROOM_PASSWORD}@" + server.url_with(None, None).removeprefix("rtsp://")
        pipeline.write_text(PIPELINE.format(source=source))
        environment = {
            "ROOM_PASSWORD": "cam-s3cret",
            "OTHER": "another-s3cret",
            "CREDENTIALS_DIRECTORY": str(place),
            "EDGESEG_CACHE": str(tmp_path / "cache-s3cret"),
        }
        with Daemon(pipeline, environment) as daemon:
            daemon.wait_for_log("64 x 48 pictures")
            processes = wait_until(lambda: descendants(daemon.process.pid), "camera processes")
            cameras = [pid for pid in processes if status_of(pid, "Seccomp") == "2"]
            assert cameras or gaps()
            for pid in processes:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                assert b"s3cret" not in command
                if b"resource_tracker" not in command:
                    seen = Path(f"/proc/{pid}/environ").read_bytes()
                    for hidden in (b"s3cret", b"CREDENTIALS", b"EDGESEG_", str(place).encode()):
                        assert hidden not in seen, f"{command!r} knows {hidden!r}"
            assert daemon.stop() == 0
        assert "s3cret" not in daemon.log + daemon.output


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def test_variables_of_unknown_names_stay_away() -> None:
    given = {"PATH": "/bin", "LC_ALL": "C", "PYTHONPATH": "x", "MY_TOKEN": "t", "NOTIFY_SOCKET": "/run/n"}
    assert harmless(given) == {"PATH": "/bin", "LC_ALL": "C", "PYTHONPATH": "x"}


@dataclass(frozen=True)
class Rogue:
    """A decoder that was taken over: it runs inside of the camera process, in place of ``Preprocess``."""

    attack: str
    mark: str = ""

    def fit_for(self, picture_size_px: tuple[int, int]) -> Fit:
        return SQUASH.fit_for(picture_size_px)

    def place(self, picture: Picture, fit: Fit, out: U8 | None = None) -> U8:
        if self.attack == "grow slowly":
            ballast.append(np.ones(25 * MIB, np.uint8))
        elif self.attack == "grow fast":
            ballast.append(np.ones(300 * MIB, np.uint8))
        elif self.attack == "python":
            ballast.append(bytearray(2 << 30))
        elif self.attack == "opencv":
            cv2.resize(np.ones((8, 8, 3), np.uint8), (30_000, 30_000))
        elif self.attack == "kernel":
            mmap.mmap(-1, 2 << 30, flags=mmap.MAP_PRIVATE)
        elif self.attack == "ffmpeg":
            av.VideoFrame(16_200, 16_200, "rgba")
        elif self.attack == "empty clip":
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
            memory = os.memfd_create("clip", os.MFD_ALLOW_SEALING)
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, seals)
            for descriptor in filter(is_socket, range(3, 64)):
                with Connection(os.dup(descriptor)) as link:
                    link.send_bytes(encode(ClipFinished(CLIP, 1)))
                    send_handle(link, memory, os.getppid())
        else:
            nonsense = pickle.dumps(Bomb(self.mark)) if self.attack == "pickle" else b"\xff" * 40
            header = b"\xff\xff\xff\xff" if self.attack == "endless" else struct.pack("!i", len(nonsense))
            for descriptor in range(3, 64):
                if is_socket(descriptor):
                    os.write(descriptor, header + nonsense)
        return SQUASH.place(picture, fit, out)


ballast: list[U8 | bytearray] = []
CLIP = "0123456789abcdef"


@dataclass(frozen=True)
class Bomb:
    mark: str

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.mark,)


def is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False


@pytest.mark.parametrize("attack", ["pickle", "noise", "endless"])
def test_a_camera_process_that_was_taken_over_is_ended(attack: str, tiny_clip: Path, tmp_path: Path) -> None:
    rogue = Rogue(attack, str(tmp_path / "loaded"))
    with capture_of(tiny_clip, preprocess=rogue) as capture:
        error = failure(capture)
    assert error.reason == "crashed"
    assert "sent an invalid message" in str(error)
    assert not (tmp_path / "loaded").exists()


def test_a_clip_that_is_not_what_was_said_is_not_taken(tiny_clip: Path) -> None:
    clips: list[ClipReady] = []
    with capture_of(tiny_clip, preprocess=Rogue("empty clip")) as capture:
        capture.take_clip(ClipRequest(CLIP, 0.0, 1.0, 1.0, ""))
        error = failure(capture, clips=clips)
    assert not clips
    assert "a clip that is not what was announced" in str(error)


@pytest.mark.parametrize("attack", ["grow slowly", "grow fast"])
def test_a_camera_process_that_grows_is_ended(attack: str, tiny_clip: Path) -> None:
    """By the daemon, which measures it, or by the kernel, which refuses it memory: whichever comes first."""
    with capture_of(tiny_clip, preprocess=Rogue(attack)) as capture:
        error = failure(capture)
    assert error.reason == "crashed"
    assert "MiB" in str(error)


@pytest.mark.parametrize("attack", ["python", "opencv", "kernel", "ffmpeg"])
def test_a_camera_process_that_is_refused_memory_says_so(attack: str, tiny_clip: Path) -> None:
    with capture_of(tiny_clip, preprocess=Rogue(attack), realtime=False) as capture:
        error = failure(capture)
    assert error.reason == "crashed"
    assert "the camera process wanted more than its limit of 1024 MiB, 192 are the most" in str(error)


def test_a_decoder_without_memory_says_so(tmp_path: Path) -> None:
    """A picture takes 3 MB; the process gets 4 MB more than it has, and keeps what it decoded."""
    clip = tmp_path / "large.mkv"
    with av.open(str(clip), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuvj420p"
        for _ in range(40):
            container.mux(stream.encode(av.VideoFrame(1920, 1080, "yuvj420p")))
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from edgeseg.errors import SourceError\n"
        "from edgeseg.sources.open import open_source\n"
        "with open_source(sys.argv[1]) as source:\n"
        "    data = Path('/proc/self/status').read_text().partition('VmData:')[2]\n"
        "    limit = (int(data.split()[0]) << 10) + (4 << 20)\n"
        "    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))\n"
        "    try: print(len(list(source)))\n"
        "    except SourceError as error: print(error.reason, error)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(clip)], capture_output=True, text=True, timeout=280, check=False
    )
    assert answer.stdout == f"crashed {clip}: the decoder was refused memory\n", answer.stderr


def test_the_bound_follows_the_picture() -> None:
    assert (
        limit_bytes((640, 360)) < limit_bytes((1920, 1080)) < limit_bytes((3840, 2160)) == limit_bytes(None)
    )
    assert limit_bytes((3840, 2160)) < 1 << 30
    assert memory_excess(os.getpid(), (3840, 2160), roomy=True) is None
    # Nobody has this number.
    assert memory_excess(2**22 + 1, None) is None


def test_what_runs_code_of_others_is_known() -> None:
    assert not any(map(runs_own_code, ("rtsp://camera/", "HTTPS://camera/x", "v4l2:///dev/video0", "a.mp4")))
    assert runs_own_code("gstreamer: videotestsrc ! appsink")
    assert runs_own_code("csi://0")
    assert runs_own_code("rtsp://camera/", "cuda")


def test_a_refused_confinement_ends_the_process_before_the_first_byte() -> None:
    if landlock.version() == 0:
        missing("Landlock")
    program = (
        "from edgeseg.capture.sandbox import confine\n"
        "from edgeseg.errors import SourceError\n"
        "import resource\n"
        # Not one descriptor is left.
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "try: confine.confine('/no/clip')\n"
        "except SourceError as error: print(error.reason, error)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=280, check=False
    )
    assert answer.stdout.startswith("crashed the camera process cannot be confined"), answer.stderr


def test_errors_cross_from_a_confined_process(tmp_path: Path) -> None:
    with capture_of("rtsp://127.0.0.1:1/") as capture:
        assert failure(capture).reason == "refused"
    with capture_of("rtsp://no-such-host.invalid/") as capture:
        assert failure(capture).reason in ("not_found", "timeout")
    with capture_of(tmp_path / "absent.mp4") as capture:
        error = failure(capture)
        assert isinstance(error, SourceError)
        assert error.reason == "not_found"

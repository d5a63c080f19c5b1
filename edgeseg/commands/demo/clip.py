"""Demo clip: the user's own, a cached one, a pinned download, or one from a Debian package."""

from __future__ import annotations

import contextlib
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeseg.errors import EdgesegError
from edgeseg.models.registry import sha256
from edgeseg.system.atomic_files import atomic_write
from edgeseg.system.download import DownloadError, fetch

_ADVICE = "name a folder for it in EDGESEG_CACHE"
_DEBIAN_PACKAGE = "opencv-doc"
_DEBIAN_MEMBER = "usr/share/doc/opencv-doc/examples/data/vtest.avi"


@dataclass(frozen=True, slots=True)
class DemoClip:
    """A clip and what to say of it. ``camera``: its camera in pipelines/demo.yaml."""

    path: Path
    camera: str
    credit: str


@dataclass(frozen=True, slots=True)
class _Pinned:
    url: str
    bytes: int
    sha256: str


# Intel sample-videos, CC BY 4.0.
_ROOM = _Pinned(
    "https://github.com/intel-iot-devkit/sample-videos/raw/master/one-by-one-person-detection.mp4",
    3_291_918,
    "a5964aa259099a482a8b360ffc2c57b5a30f84d5919236a4dad01f8e929ac07c",
)
_ROOM_CREDIT = "one-by-one-person-detection.mp4, Intel sample-videos, CC BY 4.0"
_YARD_CREDIT = "vtest.avi, from Debian's package opencv-doc"


def find_clip(own: str | None, cache: Path, say: Callable[[str], None]) -> DemoClip:
    """own: a clip that the user named. cache: folder to keep a fetched clip in. say: gets one line for
    each attempt. Raises EdgesegError when there is no clip to be had."""
    if own is not None:
        path = Path(own).expanduser()
        if not path.exists():
            raise EdgesegError(
                f"{own}: no such clip; EDGESEG_DEMO_CLIP or --clip has to name one that exists"
            )
        return DemoClip(path, "yours", str(path))
    room, yard = cache / "one-by-one-person-detection.mp4", cache / "vtest.avi"
    if room.is_file():
        return DemoClip(room, "room", _ROOM_CREDIT)
    if yard.is_file():
        return DemoClip(yard, "yard", _YARD_CREDIT)
    say("fetching a clip (3 MB, Intel sample-videos, CC BY 4.0)")
    try:
        _download(_ROOM, room)
    except DownloadError as error:
        say(f"no download ({error}); trying Debian's package {_DEBIAN_PACKAGE} (96 MB)")
        try:
            _from_debian(yard)
        except (OSError, subprocess.SubprocessError, tarfile.TarError) as failure:
            raise EdgesegError(
                f"no clip to watch: neither the download ({error}) nor apt-get download {_DEBIAN_PACKAGE} "
                f"({failure}) worked; name one of your own with EDGESEG_DEMO_CLIP=clip.mp4"
            ) from None
        return DemoClip(yard, "yard", _YARD_CREDIT)
    return DemoClip(room, "room", _ROOM_CREDIT)


def _download(pinned: _Pinned, path: Path) -> None:
    """Raises DownloadError, EdgesegError."""
    with atomic_write(path, _ADVICE) as partial:
        with partial.open("w+b") as stream:
            fetch(pinned.url, stream, pinned.bytes, lambda have: None)
        found = sha256(partial)
        if found != pinned.sha256:
            raise DownloadError(f"its sha256 is {found}, expected {pinned.sha256}", retry=False)


def _from_debian(path: Path) -> None:
    """``apt-get download`` needs no root, and apt verifies what it fetched. Raises OSError,
    SubprocessError, TarError; EdgesegError where ``path`` cannot be written."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["apt-get", "download", "--quiet", _DEBIAN_PACKAGE], cwd=folder, check=True, capture_output=True
        )
        package = next(Path(folder).glob("*.deb"))
        with (
            subprocess.Popen(
                ["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE
            ) as unpacking,
            contextlib.closing(tarfile.open(fileobj=unpacking.stdout, mode="r|")) as archive,
        ):
            for member in archive:
                if member.name.removeprefix("./") == _DEBIAN_MEMBER:
                    content = archive.extractfile(member)
                    assert content is not None
                    with atomic_write(path, _ADVICE) as partial:
                        partial.write_bytes(content.read())
                    break
            unpacking.kill()
    if not path.is_file():
        raise FileNotFoundError(f"{_DEBIAN_MEMBER} is not in {_DEBIAN_PACKAGE}")

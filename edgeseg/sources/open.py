"""Opening: returns the source of a URL."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from edgeseg.clock import Clock
from edgeseg.errors import SourceError
from edgeseg.settings import DecodeName
from edgeseg.sources.base import Source
from edgeseg.sources.file import FileSource
from edgeseg.sources.gstreamer import launch_line
from edgeseg.sources.gstreamer.csi import CsiSource
from edgeseg.sources.gstreamer.source import GstreamerSource
from edgeseg.sources.network import PORTS, NetworkSource
from edgeseg.sources.pictures import PICTURE_SUFFIXES, PicturesSource
from edgeseg.sources.v4l2 import V4l2Source
from edgeseg.system.redaction import redact_url


def open_source(
    url: str,
    *,
    shown: str | None = None,
    clock: Clock | None = None,
    epoch_s: float | None = None,
    picture_rate_fps: float = 1.0,
    open_timeout_s: float = 5.0,
    read_timeout_s: float = 3.0,
    decode: DecodeName = "software",
) -> Source:
    """Return the source for ``rtsp://``, ``rtsps://``, ``http(s)://``, ``v4l2:///dev/video0``, ``csi://0``,
    ``gstreamer: PIPELINE``, a file, a folder.

    Not opened yet: use it as a context manager. shown: the URL as messages may show it; redacted here
    when None. clock: stamps the pictures of live sources. epoch_s: UTC of a clip's beginning.
    picture_rate_fps: how many pictures of a folder make one second. decode: by which decoder; no matter
    where GStreamer reads, and for pictures. Raises SourceError (``not_found``) for another scheme.
    """
    pipeline = launch_line.pipeline_of(url)
    if pipeline is not None:
        return GstreamerSource(
            pipeline, shown=shown, clock=clock, open_timeout_s=open_timeout_s, read_timeout_s=read_timeout_s
        )
    shown = shown or redact_url(url)
    # Not urlsplit: a bracket in a password makes it raise, quoting the password.
    scheme, _, rest = url.partition("://") if "://" in url else ("", "", url)
    scheme = scheme.lower()
    if scheme in PORTS:
        return NetworkSource(
            f"{scheme}://{rest}",
            shown=shown,
            clock=clock,
            epoch_s=epoch_s,
            open_timeout_s=open_timeout_s,
            read_timeout_s=read_timeout_s,
            decode=decode,
        )
    if scheme == "v4l2":
        return V4l2Source(rest, shown=shown, clock=clock, decode=decode)
    if scheme == "csi":
        return CsiSource(
            rest, shown=shown, clock=clock, open_timeout_s=open_timeout_s, read_timeout_s=read_timeout_s
        )
    if scheme not in ("", "file"):
        known = ", ".join((*PORTS, "v4l2", "csi", "gstreamer:", "file"))
        raise SourceError(
            "not_found", f"{shown}: scheme {scheme!r} is not known; expected {known}, or a path"
        )
    path = Path(unquote(rest) if scheme else rest)
    if path.is_dir() or path.suffix.lower() in PICTURE_SUFFIXES:
        return PicturesSource(path, shown=shown, rate_fps=picture_rate_fps, epoch_s=epoch_s)
    return FileSource(path, shown=shown, epoch_s=epoch_s, decode=decode)


def check_pipeline(url: str, shown: str) -> bool:
    """Whether GStreamer is to read this source. Raises SourceError where it is not installed, lacks an
    element or cannot link them; nothing is opened or played."""
    source = open_source(url, shown=shown)
    if not isinstance(source, GstreamerSource):
        return False
    source.check()
    return True


def is_finite(url: str) -> bool:
    """Whether a source ends for good: a clip, a picture or a folder, not a camera or a stream."""
    if launch_line.pipeline_of(url) is not None:
        return False
    return "://" not in url or url.lower().startswith("file://")

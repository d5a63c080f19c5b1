"""Whether this machine has GStreamer, and pipelines that tests share."""

from __future__ import annotations

from pathlib import Path

from edgeseg.errors import SourceError
from edgeseg.sources.gstreamer import abi
from edgeseg.sources.gstreamer.source import has_element
from tests.conftest import missing

# What tests/install_servers.sh installs.
NEEDED = ("videotestsrc", "decodebin", "rtspsrc", "qtdemux", "h264parse", "openh264dec")


def require_gstreamer() -> None:
    """Skip (fail on CI) where GStreamer or a plugin that the tests play with is not installed."""
    try:
        abi.load()
    except SourceError as error:
        missing(f"GStreamer ({error})")
    absent = [name for name in NEEDED if not has_element("", name)]
    if absent:
        missing(f"GStreamer's {', '.join(absent)} (Debian: gstreamer1.0-plugins-*)")


def camera_playing(clip: Path) -> str:
    """A source that plays a clip in its own time, as a camera would."""
    require_gstreamer()
    return f"gstreamer: filesrc location={clip} ! decodebin ! appsink"

"""Stream choice: the smallest stream of a camera that is fast enough for the analysis.

Cameras encode a picture two or three times. The main stream is for recording; decoding it costs several
times what a substream costs, and the network sees a small picture anyway.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from edgeseg.capture.probe import SourceFacts

# What a substream should be: enough for every network here, and cheap to decode.
LARGEST_SIDE_PX = 1280
BEST_FPS = (5.0, 10.0)
# Above this a second keyframe is late for what decodes keyframes alone, and after every reconnection.
LONGEST_KEYFRAMES_S = 4.0


@dataclass(frozen=True, slots=True)
class Vendor:
    """Whose addresses look like this. main: matches path and query of a main stream; sub: what takes its
    place, None where the address does not tell. where: the page of the camera that sets the substream up."""

    name: str
    main: re.Pattern[str]
    sub: str | None
    where: str


def _vendor(name: str, main: str, sub: str | None, where: str) -> Vendor:
    return Vendor(name, re.compile(main, re.IGNORECASE), sub, where)


# From the vendors' manuals on RTSP addresses.
VENDORS = (
    _vendor(
        "Hikvision",
        r"(/Streaming/(?:Unicast/)?Channels/\d+)01(?=$|[/?])",
        r"\g<1>02",
        "Video > Stream Type: Sub Stream",
    ),
    _vendor(
        "Hikvision", r"(/h26[45]/ch\d+)/main(/av_stream)", r"\1/sub\2", "Video > Stream Type: Sub Stream"
    ),
    _vendor(
        "Dahua or Amcrest",
        r"(/cam/realmonitor\?(?:.*&)?subtype)=0",
        r"\1=1",
        "Camera > Encode > Sub Stream",
    ),
    _vendor(
        "Reolink", r"/(?:h26[45])?Preview_(\d+)_main", r"/h264Preview_\1_sub", "Display > Stream: Fluent"
    ),
    _vendor("Tapo or VIGI", r"/stream1(?=$|[/?])", "/stream2", "the app's advanced video settings"),
    _vendor("Foscam", r"/videoMain", "/videoSub", "Video > Sub stream"),
    _vendor("Uniview", r"/media/video1(?=$|[/?])", "/media/video2", "Video > Sub Stream"),
    _vendor("Axis", r"(/axis-media/media\.amp)", None, "a stream profile, or ?resolution=640x360&fps=10"),
    _vendor("UniFi Protect", r":7(?:441|447)/", None, "the camera's RTSP settings: take the medium quality"),
)


@dataclass(frozen=True, slots=True)
class Alternative:
    """An address that may be worth trying. vendor: whose pattern it follows. where: see ``Vendor``."""

    url: str
    vendor: str
    where: str


def substream(url: str) -> Alternative | None:
    """The substream of a camera whose main stream is ``url``, by its vendor's pattern; None where no pattern
    is known, or it is a substream already. Variables and credentials stay as they are."""
    at = url.find("/", url.find("://") + 3)
    head, tail = (url[:at], url[at:]) if at > 0 else (url, "")
    for vendor in VENDORS:
        if vendor.name == "Axis" and vendor.main.search(tail):
            changed = _axis(tail)
        elif vendor.sub is None:
            continue
        else:
            changed = vendor.main.sub(vendor.sub, tail, count=1)
        if changed != tail:
            return Alternative(head + changed, vendor.name, vendor.where)
    return None


def _axis(tail: str) -> str:
    """Axis makes any stream that the query asks for."""
    path, _, query = tail.partition("?")
    kept = [part for part in query.split("&") if part and not part.startswith(("resolution=", "fps="))]
    return path + "?" + "&".join([*kept, "resolution=640x360", "fps=10"])


def vendor_of(url: str) -> Vendor | None:
    """Whose address it is, main stream or not; None for an unknown one."""
    bare = urlsplit(re.sub(r"\$\{\w+\}", "x", url))
    text = f":{bare.netloc.rpartition(':')[2]}{bare.path}{'?' if bare.query else ''}{bare.query}"
    return next((vendor for vendor in VENDORS if vendor.main.search(text)), None)


def too_much(facts: SourceFacts, rate_fps: float) -> str | None:
    """What of a stream is more than it needs to be, in words; None where it is right."""
    large = max(facts.width_px, facts.height_px) > LARGEST_SIDE_PX
    fast = facts.fps is not None and facts.fps > 1.5 * max(BEST_FPS[1], rate_fps)
    size, speed = f"{facts.width_px}x{facts.height_px}", f"{facts.fps or 0:.0f} pictures a second"
    if large and fast:
        return f"{size} at {speed}"
    return size if large else speed if fast else None


def better(one: SourceFacts, other: SourceFacts, rate_fps: float) -> bool:
    """Whether ``one`` serves better than ``other`` for ``rate_fps`` analyses a second."""
    return _demerits(one, rate_fps) < _demerits(other, rate_fps)


def _demerits(facts: SourceFacts, rate_fps: float) -> tuple[bool, bool, float]:
    starved = facts.fps is not None and facts.fps < 0.8 * rate_fps
    pixels_s = facts.width_px * facts.height_px * (facts.fps or 25.0)
    return starved, facts.width_px < 320, pixels_s

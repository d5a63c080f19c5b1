"""Camera checks: each camera answers, and with the right stream."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

from edgeseg.capture import probe as probing
from edgeseg.capture.probe import SourceFacts, probe
from edgeseg.clock import Clock
from edgeseg.config import addresses
from edgeseg.errors import SourceError
from edgeseg.settings import CameraSettings
from edgeseg.sources.open import is_finite
from edgeseg.stages.preprocess import Preprocess
from edgeseg.system.redaction import redact_url
from edgeseg.tools.doctor import streams
from edgeseg.tools.doctor.finding import Check, Finding

# A camera and its substream, one after the other.
LIMIT_S = 2 * probing.LIMIT_S
# Each takes a process and some decoding.
AT_ONCE = 4
_OFF_S = 5.0
_SMALL = Preprocess("stretch", (64, 48))
_MEND = {
    "auth": "check user and password in the address, or what {variables} holds",
    "not_found": "check the host and the path of the address; VLC shows whether it plays",
    "refused": "switch RTSP on in the camera, or see in its network settings which port has it",
    "timeout": "check its cable, power and address: ping {host}",
    "tls": "use rtsp://, or switch RTSPS on in the camera",
    "codec": "set the camera to H.264, and check the path of the address",
    "ended": "restart the camera; some allow only a few viewers at once",
    "crashed": "update edgeseg (pip install -U edgeseg), or set the camera to H.264",
}


def probe_camera(url: str, shown: str, clock: Clock, stop: threading.Event) -> SourceFacts:
    """What a source sends; see ``sources.probe.probe``."""
    return probe(url, shown, _SMALL, clock, stop)


def describe(facts: SourceFacts) -> str:
    """Return a description of a stream for a person."""
    parts = [f"{facts.width_px}x{facts.height_px}"]
    parts += [facts.codec.upper().replace("HEVC", "H.265").replace("H264", "H.264")] if facts.codec else []
    parts += [f"{facts.fps:.1f} pictures a second"] if facts.fps is not None else []
    if facts.keyframes_s is not None:
        parts.append(f"a keyframe every {facts.keyframes_s:.1f} s")
    elif facts.codec is not None and facts.fps is not None:
        parts.append(f"no second keyframe within {facts.watched_s:.0f} s")
    if facts.clock_ahead_s is not None:
        side = "ahead" if facts.clock_ahead_s >= 0 else "behind"
        parts.append(f"its clock is {abs(facts.clock_ahead_s):.1f} s {side}")
    return ", ".join(parts)


def check_of(camera: CameraSettings, clock: Clock) -> Check:
    """The check of one camera with its address filled in."""
    return lambda stop: _check(camera, clock, stop)


def _check(camera: CameraSettings, clock: Clock, stop: threading.Event) -> Iterator[Finding]:
    source = camera.source
    assert source.url is not None, "resolve the settings first"
    url = source.url.reveal()
    try:
        facts = probe(url, source.shown, _SMALL, clock, stop, decode=camera.decode)
    except SourceError as error:
        yield Finding(camera.name, "problem", str(error), _mend(error, camera))
        return
    yield Finding(camera.name, "ok", describe(facts))
    if facts.notice:
        yield Finding(camera.name, "note", facts.notice)
    if not is_finite(url):
        yield from _shortcomings(camera, facts)
        yield from _stream(camera, url, facts, clock, stop)


def _shortcomings(camera: CameraSettings, facts: SourceFacts) -> Iterator[Finding]:
    if facts.fps is not None and facts.fps < 0.8 * camera.rate_fps:
        text = f"sends {facts.fps:.1f} pictures a second, `rate: {camera.rate_fps:g}` asks for more"
        yield Finding(
            camera.name, "note", text, "raise the stream's frame rate in the camera, or lower rate:"
        )
    late = (
        facts.keyframes_s is None
        and facts.codec in ("h264", "hevc")
        and facts.watched_s >= streams.LONGEST_KEYFRAMES_S
    )
    if late or (facts.keyframes_s or 0.0) > streams.LONGEST_KEYFRAMES_S:
        text = "keyframes are far apart: each reconnection waits for one, and the gate cannot save decoding"
        yield Finding(camera.name, "note", text, "set the I-frame interval to 1 or 2 seconds in the camera")
    if facts.clock_ahead_s is not None and abs(facts.clock_ahead_s) > _OFF_S:
        text = (
            "its clock is wrong; edgeseg goes by this machine's, but the time in its picture misleads people"
        )
        yield Finding(camera.name, "note", text, "switch NTP on in the camera")


def _stream(
    camera: CameraSettings, url: str, facts: SourceFacts, clock: Clock, stop: threading.Event
) -> Iterator[Finding]:
    excess = streams.too_much(facts, camera.rate_fps)
    if excess is None:
        return
    text = f"this looks like a main stream: {excess} is more than {camera.rate_fps:g} analyses a second need"
    other, written = streams.substream(url), streams.substream(camera.source.template)
    vendor = streams.vendor_of(camera.source.template)
    where = f"; set it up in the camera under {vendor.where}" if vendor else ""
    if other is None or written is None:
        yield Finding(
            camera.name, "note", text, f"use the camera's substream, of 5 to 10 pictures a second{where}"
        )
        return
    shown = redact_url(written.url)
    try:
        smaller = probe_camera(other.url, shown, clock, stop)
    except SourceError:
        yield Finding(
            camera.name, "note", text, f"use the camera's substream; {shown} does not answer{where}"
        )
        return
    if streams.better(smaller, facts, camera.rate_fps):
        text = f"{text}; its substream gives {describe(smaller)}"
        yield Finding(camera.name, "note", text, f"source: {shown}")


def _mend(error: SourceError, camera: CameraSettings) -> str | None:
    names = addresses.VARIABLE.findall(camera.source.template)
    host = re.search(r"@?([\w.-]+)(?::\d+)?(?:/|$)", camera.source.shown.partition("://")[2])
    mend = _MEND.get(error.reason, "see docs/cameras.md")
    return mend.format(
        variables=" and ".join(f"${name}" for name in names) or "it", host=host[1] if host else "the camera"
    )

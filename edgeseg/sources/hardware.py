"""Hardware decoders: FFmpeg's hardware devices, and V4L2's (Raspberry Pi and others).

The device's decoder is a codec context of its own beside the stream's: a stream that is open already
changes from the device to software without connecting again.
"""

from __future__ import annotations

from collections.abc import Callable

import av.error
from av.codec.context import CodecContext
from av.codec.hwaccel import HWAccel
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edgeseg.settings import DecodeName

HARDWARE: tuple[DecodeName, ...] = ("cuda", "vaapi", "drm", "v4l2m2m")
# What `auto` tries, in this order. Not drm: as FFmpeg is released, hardly any codec has it.
_AUTO: tuple[DecodeName, ...] = ("cuda", "vaapi", "v4l2m2m")
# The device gives way to software after so many packets in a row that it refused (a second at 25 fps) ...
_MAX_REFUSED = 25
# ... or that it took without giving a picture. Decoders keep up to 32 pictures back.
_MAX_SILENT = 250

OpensHardware = Callable[[DecodeName, VideoCodecContext], tuple[DecodeName, VideoCodecContext]]
"""``open_hardware``, or what a test puts in its place."""


class HardwareError(Exception):
    """The device does not decode this video; the message is the reason."""


def open_hardware(decode: DecodeName, video: VideoCodecContext) -> tuple[DecodeName, VideoCodecContext]:
    """A decoder of the device for what ``video``, the stream's own, decodes in software; and its name.

    decode: ``auto`` takes the first of several that opens. Its pictures come in main memory. Raises
    HardwareError.
    """
    refusal = HardwareError("nothing to try")
    for name in _AUTO if decode == "auto" else (decode,):
        try:
            return name, _v4l2(video) if name == "v4l2m2m" else _device(name, video)
        except HardwareError as error:
            refusal = error
    raise refusal


def try_device(decode: DecodeName) -> str | None:
    """Whether this device would decode H.264, tried without a stream; None where it would, else why not."""
    software = CodecContext.create("h264", "r")
    assert isinstance(software, VideoCodecContext)
    try:
        open_hardware(decode, software)
    except HardwareError as error:
        return str(error)
    return None


class Codec:
    """Decodes one stream by the decoder that was asked for, in software where that one fails.

    decoded_by: the decoder in use. refusal: why it is software although something else was asked for by
    name; None as long as it is not.
    """

    def __init__(
        self, decode: DecodeName, software: VideoCodecContext, opens: OpensHardware = open_hardware
    ) -> None:
        self.decoded_by: DecodeName = "software"
        self.refusal: str | None = None
        self._software = self._context = software
        self._refused = self._silent = 0
        if decode == "software":
            return
        try:
            self.decoded_by, self._context = opens(decode, software)
        except HardwareError as error:
            # ``auto`` asked for nothing in particular.
            self.refusal = None if decode == "auto" else f"decode: {decode}: {error}; decoding in software"

    def decode(self, packet: Packet[VideoStream]) -> list[VideoFrame]:
        """The pictures that are complete with this packet. Raises what PyAV raises for a damaged one."""
        if self.decoded_by == "software":
            return self._context.decode(packet)
        try:
            frames = self._context.decode(packet)
        except (av.error.FFmpegError, OSError, ValueError):
            self._refused += 1
            if self._refused < _MAX_REFUSED:
                raise
            self._give_up(f"it refused {self._refused} packets in a row")
            return self._context.decode(packet)
        self._refused = 0
        self._silent = 0 if frames else self._silent + 1
        if self._silent > _MAX_SILENT:
            self._give_up(f"it gave no picture for {self._silent} packets")
        return frames

    def _give_up(self, why: str) -> None:
        self.refusal = f"decode: {self.decoded_by}: {why}; decoding in software"
        self.decoded_by, self._context = "software", self._software


def _device(name: str, video: VideoCodecContext) -> VideoCodecContext:
    nothing = HardwareError(f"this FFmpeg has no {name} decoder for {video.codec.canonical_name}")
    try:
        # Not with FFmpeg's own fallback, which is silent.
        device = HWAccel(name, allow_software_fallback=False)
        context = CodecContext.create(video.name, "r", hwaccel=device)
    except (NotImplementedError, RuntimeError):
        raise nothing from None
    except (av.error.FFmpegError, OSError) as error:
        # Without a GPU FFmpeg reports "Operation not permitted", without its driver other things.
        raise HardwareError(f"no such device opens ({error.strerror})") from None
    if not isinstance(context, VideoCodecContext) or not context.is_hwaccel:
        raise nothing
    return _like(context, video)


def _v4l2(video: VideoCodecContext) -> VideoCodecContext:
    codec = video.codec.canonical_name
    try:
        context = CodecContext.create(f"{codec}_v4l2m2m", "r")
    except ValueError:
        raise HardwareError(f"this FFmpeg has no V4L2 decoder for {codec}") from None
    assert isinstance(context, VideoCodecContext)
    context.width, context.height = video.width, video.height
    context.pix_fmt = "yuv420p"
    _like(context, video)
    try:
        # It looks for a /dev/video* that decodes this codec.
        context.open()
    except (ValueError, OSError):
        raise HardwareError(f"no /dev/video* that decodes {codec}, or no permission to use it") from None
    return context


def _like(context: VideoCodecContext, video: VideoCodecContext) -> VideoCodecContext:
    """With the parameter sets that containers keep outside the packets."""
    context.extradata = video.extradata
    context.thread_count = 1
    return context

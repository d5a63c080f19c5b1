"""GStreamer source: any pipeline with an appsink, for cameras and decoders that only GStreamer reaches."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from ctypes import POINTER, byref, c_void_p
from types import TracebackType
from typing import Any, Literal

import numpy as np

from edgeseg.clock import Clock, SystemClock
from edgeseg.errors import SourceError, SourceReason
from edgeseg.frames import U8, Picture
from edgeseg.sources.gstreamer import abi, launch_line
from edgeseg.sources.timestamps import ArrivalTimes
from edgeseg.system.redaction import redact

# What nearly every decoder gives, and what reduces fastest to the network's size.
_CAPS = b"video/x-raw, format=(string)I420"
# How long a wait for a picture goes without a look at the pipeline's errors.
_LOOK_EVERY_S = 0.1
# Connecting, filling an RTSP jitter buffer (2 s), the next keyframe; Jetson's camera service takes 3 s.
_FIRST_TIMEOUTS = 3.0

# GstResourceError and GstCoreError; what is not here is ``refused``.
_RESOURCE_REASONS: dict[int, SourceReason] = {3: "not_found", 9: "ended", 11: "ended", 15: "auth"}
_MISSING_PLUGIN = 12
_NO_SUCH_ELEMENT = 1
_NVMM = "pictures in memory:NVMM need nvvidconv before the appsink"
_COMES_WITH = (
    ("nv", "comes with NVIDIA JetPack"),
    ("libcamera", "Debian: sudo apt-get install gstreamer1.0-libcamera"),
    ("avdec_", "Debian: sudo apt-get install gstreamer1.0-libav"),
    ("", "gst-inspect-1.0 lists what is installed (Debian: gstreamer1.0-tools)"),
)


class GstreamerSource:
    """A live source: times are arrival times, and its end is an error.

    pipeline: in the syntax of ``gst-launch-1.0``, with one ``appsink``, which is set to keep the newest
    picture alone. A ``videoconvert`` before it is added. open_timeout_s is granted three times until the
    first picture, read_timeout_s twice between two.
    """

    live = True
    corrupt_packets = 0
    duration_s = None
    notice = None

    def __init__(
        self,
        pipeline: str,
        *,
        shown: str | None = None,
        clock: Clock | None = None,
        open_timeout_s: float = 5.0,
        read_timeout_s: float = 3.0,
    ) -> None:
        self.shown = shown or launch_line.shown(pipeline)
        self.rate_fps: float | None = None
        self._pipeline = pipeline
        self._clock = clock or SystemClock()
        self._first_within_s = _FIRST_TIMEOUTS * open_timeout_s
        self._next_within_s = 2 * read_timeout_s
        self._gst: Any = None
        self._element: int | None = None
        self._sink: int | None = None
        self._bus: int | None = None
        self._first: int | None = None

    def check(self) -> None:
        """Build the pipeline without playing it. Raises SourceError."""
        try:
            self._gst = load(self.shown)
            self._build()
        finally:
            self._close()

    def __enter__(self) -> GstreamerSource:
        self._gst = load(self.shown)
        try:
            self._build()
            if self._gst.gst_element_set_state(self._element, abi.STATE_PLAYING) == abi.STATE_CHANGE_FAILURE:
                raise self._failure() or SourceError("refused", f"{self.shown}: the pipeline does not start")
            self._first = self._sample(self._first_within_s)
            self.rate_fps = _rate_fps(self._info(self._first))
        except SourceError:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __iter__(self) -> Iterator[Picture]:
        assert self._element is not None, "open it first"
        times = ArrivalTimes(self._clock)
        while True:
            sample, self._first = self._first or self._sample(self._next_within_s), None
            frame = abi.VideoFrame()
            try:
                buffer = self._gst.gst_sample_get_buffer(sample)
                if not self._gst.gst_video_frame_map(
                    byref(frame), byref(self._info(sample)), buffer, abi.MAP_READ
                ):
                    raise SourceError("codec", f"{self.shown}: a picture that is not in main memory")
                pts = abi.Buffer.from_address(buffer).pts
                time = times.stamp(None if pts == abi.NO_TIME else pts / abi.SECOND_NS, None)
                try:
                    yield Picture(*_planes(frame), time)
                finally:
                    self._gst.gst_video_frame_unmap(byref(frame))
            finally:
                self._gst.gst_mini_object_unref(sample)

    def _build(self) -> None:
        gst, error = self._gst, POINTER(abi.GError)()
        text = launch_line.with_converter(self._pipeline)
        self._element = gst.gst_parse_launch_full(text.encode(), None, abi.FATAL_ERRORS, byref(error))
        if error:
            raise self._explained(error, "", "")
        if self._element is None:
            raise SourceError("codec", f"{self.shown}: not a pipeline")
        if gst.g_type_check_instance_is_a(self._element, gst.gst_bin_get_type()):
            self._sink = self._find_sink()
        if self._sink is None:
            raise SourceError("codec", f"{self.shown}: has no appsink; write ... ! appsink at its end")
        caps = gst.gst_caps_from_string(_CAPS)
        gst.gst_app_sink_set_caps(self._sink, caps)
        gst.gst_mini_object_unref(caps)
        gst.gst_app_sink_set_max_buffers(self._sink, 1)
        gst.gst_app_sink_set_drop(self._sink, 1)
        self._bus = gst.gst_element_get_bus(self._element)

    def _find_sink(self) -> int | None:
        gst, value, found = self._gst, abi.GValue(), None
        sinks = gst.gst_bin_iterate_sinks(self._element)
        while gst.gst_iterator_next(sinks, byref(value)) == 1:
            sink = gst.g_value_get_object(byref(value))
            if found is None and gst.g_type_check_instance_is_a(sink, gst.gst_app_sink_get_type()):
                found = gst.gst_object_ref(sink)
            gst.g_value_unset(byref(value))
        gst.gst_iterator_free(sinks)
        return int(found) if found is not None else None

    def _sample(self, within_s: float) -> int:
        """The newest picture, as soon as there is one. Raises SourceError."""
        # Waiting is real, whatever clock stamps the pictures.
        clock = SystemClock()
        until_s = clock.monotonic_s() + within_s
        look_ns = int(_LOOK_EVERY_S * abi.SECOND_NS)
        while True:
            sample = self._gst.gst_app_sink_try_pull_sample(self._sink, look_ns)
            if sample:
                return int(sample)
            failure = self._failure()
            if failure is not None:
                raise failure
            if self._gst.gst_app_sink_is_eos(self._sink):
                raise SourceError("ended", f"{self.shown}: the pipeline has come to its end")
            if clock.monotonic_s() >= until_s:
                raise SourceError("timeout", f"{self.shown}: no picture within {within_s:g} s")

    def _info(self, sample: int) -> abi.VideoInfo:
        """Of this very sample: a camera may change its size in the middle."""
        info = abi.VideoInfo()
        caps = self._gst.gst_sample_get_caps(sample)
        if not caps or not self._gst.gst_video_info_from_caps(byref(info), caps):
            raise SourceError("codec", f"{self.shown}: gives something that is no picture")
        return info

    def _failure(self) -> SourceError | None:
        """What the pipeline has complained of first."""
        gst = self._gst
        message = gst.gst_bus_timed_pop_filtered(self._bus, 0, abi.MESSAGE_ERROR)
        if not message:
            return None
        error, details = POINTER(abi.GError)(), c_void_p()
        gst.gst_message_parse_error(message, byref(error), byref(details))
        source = abi.Message.from_address(message).src
        failure = self._explained(
            error, self._text(gst.gst_object_get_name(source)), self._text(details.value)
        )
        gst.gst_mini_object_unref(message)
        return failure

    def _text(self, address: int | None) -> str:
        """A C string that is ours to free."""
        if not address:
            return ""
        text = ctypes.string_at(address).decode(errors="replace")
        self._gst.g_free(address)
        return text

    def _explained(self, error: Any, element: str, details: str) -> SourceError:
        """details hold addresses and more: only known words are looked for in them."""
        gst, domain, code = self._gst, error.contents.domain, error.contents.code
        text = (error.contents.message or b"").decode(errors="replace")
        gst.g_error_free(error)
        reason: SourceReason = "refused"
        if domain == gst.gst_parse_error_quark():
            reason = "not_found" if code == _NO_SUCH_ELEMENT else "codec"
            # The value of a property, whatever it may be.
            text = re.sub(r' to ".*"$', "", text, flags=re.DOTALL)
            missing = re.fullmatch(r'no element "(.*)"', text)
            if "(memory:NVMM)" in text:
                text += f"; {_NVMM}"
            elif missing:
                text += f"; {next(hint for start, hint in _COMES_WITH if missing[1].startswith(start))}"
        elif domain == gst.gst_resource_error_quark():
            reason = _RESOURCE_REASONS.get(code, "refused")
        elif domain == gst.gst_stream_error_quark():
            reason = "codec"
            if "not-negotiated" in details:
                text = f"what is linked agrees on no format; {_NVMM}"
            elif "reason error" in details:
                reason, text = "ended", "the stream broke off"
        elif domain == gst.gst_core_error_quark() and code == _MISSING_PLUGIN:
            reason, text = "codec", f"{text} {abi.INSTALL}"
        if "Unauthorized" in details or "Unauthorized" in text:
            reason, text = "auth", "user or password refused"
        text = redact(" ".join(text.split()), launch_line.secrets(self._pipeline))
        return SourceError(reason, ": ".join(part for part in (self.shown, element, text) if part))

    def _close(self) -> None:
        gst = self._gst
        if self._first is not None:
            gst.gst_mini_object_unref(self._first)
        if self._element is not None:
            gst.gst_element_set_state(self._element, abi.STATE_NULL)
        for owned in (self._bus, self._sink, self._element):
            if owned is not None:
                gst.gst_object_unref(owned)
        self._first = self._bus = self._sink = self._element = None


def load(shown: str) -> Any:
    """GStreamer's functions. Raises SourceError (``not_found``) with what to install."""
    try:
        return abi.load()
    except SourceError as error:
        raise SourceError(error.reason, f"{shown}: {error}") from None


def has_element(shown: str, name: str) -> bool:
    """Whether GStreamer has such an element. Raises SourceError where there is no GStreamer."""
    gst = load(shown)
    factory = gst.gst_element_factory_find(name.encode())
    if factory:
        gst.gst_object_unref(factory)
    return bool(factory)


def _rate_fps(info: abi.VideoInfo) -> float | None:
    return info.fps_n / info.fps_d if info.fps_n and info.fps_d else None


def _planes(
    frame: abi.VideoFrame,
) -> tuple[tuple[U8, ...], Literal["i420"], bool, Literal["bt601", "bt709"]]:
    """Views of GStreamer's memory, with what ``Picture`` needs to know of them."""
    width, height, colours = frame.info.width, frame.info.height, frame.info.colorimetry
    half_width, half_height = (width + 1) // 2, (height + 1) // 2
    planes = (
        _view(frame, 0, height, width),
        _view(frame, 1, half_height, half_width),
        _view(frame, 2, half_height, half_width),
    )
    hd = colours.matrix in (abi.MATRIX_BT709, abi.MATRIX_SMPTE240M, abi.MATRIX_BT2020)
    return planes, "i420", colours.range == abi.RANGE_FULL, "bt709" if hd else "bt601"


def _view(frame: abi.VideoFrame, plane: int, rows: int, row_bytes: int) -> U8:
    """uint8 (rows, row_bytes); rows may be padded in memory."""
    stride = frame.info.stride[plane]
    memory = (ctypes.c_uint8 * ((rows - 1) * stride + row_bytes)).from_address(frame.data[plane])
    flat = np.frombuffer(memory, np.uint8)
    return np.lib.stride_tricks.as_strided(flat, (rows, row_bytes), (stride, 1), writeable=False)

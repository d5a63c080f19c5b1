"""Video source: a decoded video; base of files, network streams and capture devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from edgeseg.clock import Clock, SystemClock
from edgeseg.errors import SourceError
from edgeseg.frames import Picture
from edgeseg.sources.decode import Decoder, Opening
from edgeseg.sources.keyframes import Keyframes
from edgeseg.sources.packets import BufferedPacket, ClipWriter
from edgeseg.sources.timestamps import ArrivalTimes, ClipTimes

# The rate assumed for timestamps that are missing in a clip that declares none.
USUAL_RATE_FPS = 25.0
# Players and recorders disagree about the last picture's duration by about this much.
_MAY_MISS_S = 1.0


class VideoSource:
    """A ``Source`` over one decoder.

    live: whether times are arrival times and the end is an error. None: decided by ``__enter__``, for
        HTTP carries both: what declares a duration is a clip.
    epoch_s: UTC of a clip's beginning; None takes the recording's own creation time, or else 0, so that
        a replay gives the same times again.
    """

    def __init__(
        self,
        opening: Opening,
        *,
        live: bool | None,
        clock: Clock | None = None,
        epoch_s: float | None = None,
    ) -> None:
        self.live = bool(live)
        self.shown = opening.shown
        self._fixed_live = live
        self._decoder = Decoder(opening)
        self._clock = clock or SystemClock()
        self._epoch_s = epoch_s

    @property
    def keyframes(self) -> Keyframes[Any]:
        """Set there to decode keyframes alone."""
        return self._decoder.keyframes

    @property
    def codec(self) -> str:
        """FFmpeg's name of it: ``h264``. Open it first."""
        return self._decoder.codec

    @property
    def corrupt_packets(self) -> int:
        """Packets skipped since the beginning because they did not decode."""
        return self._decoder.corrupt_packets

    @property
    def notice(self) -> str | None:
        """One line on what works otherwise than asked; None while nothing does."""
        return self._decoder.notice

    @property
    def duration_s(self) -> float | None:
        """A clip's declared duration; None for a live source. Open it first."""
        return None if self.live else self._decoder.declared_duration_s

    @property
    def rate_fps(self) -> float | None:
        """The declared picture rate, None when there is none. Open it first."""
        return self._decoder.rate_fps

    def __enter__(self) -> VideoSource:
        self._decoder.open()
        if self._fixed_live is None:
            self.live = self._decoder.declared_duration_s is None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._decoder.close()

    def tap(self, on_packet: Callable[[BufferedPacket], None]) -> None:
        """Call ``on_packet`` with each packet from now on, before it is decoded."""
        self._decoder.tap = on_packet

    def clip_writer(self, comment: str) -> ClipWriter:
        """Return a writer for a clip of its packets. comment: written into its metadata. Open it first."""
        return self._decoder.clip_writer(comment)

    def packets(self) -> Iterator[None]:
        """Read without decoding, one step for each packet. Raises SourceError."""
        yield from self._decoder.packets()
        raise SourceError("ended", f"{self.shown}: the stream ended")

    def __iter__(self) -> Iterator[Picture]:
        times: ArrivalTimes | ClipTimes
        if self.live:
            times = ArrivalTimes(self._clock)
        else:
            epoch_s = self._decoder.created_at_s if self._epoch_s is None else self._epoch_s
            times = ClipTimes(self._decoder.rate_fps or USUAL_RATE_FPS, epoch_s or 0.0)
        last_s: float | None = None
        for decoded in self._decoder.pictures():
            time = times.stamp(decoded.pts_s, decoded.sender_utc_s, decoded.late_s)
            last_s = time.camera_time_s
            yield Picture(decoded.planes, decoded.layout, decoded.full_range, decoded.matrix, time)
        if self.live:
            raise SourceError("ended", f"{self.shown}: the stream ended")
        self._check_complete(last_s)

    def _check_complete(self, last_s: float | None) -> None:
        declared_s = self._decoder.declared_duration_s
        if last_s is None:
            raise SourceError("codec", f"{self.shown}: not one picture in it can be decoded")
        interval_s = 1 / (self._decoder.rate_fps or USUAL_RATE_FPS)
        end_s = last_s + interval_s
        if declared_s is not None and end_s < declared_s - max(_MAY_MISS_S, 2 * interval_s):
            raise SourceError(
                "truncated", f"{self.shown}: ends at {end_s:.1f} s of {declared_s:.1f} s; get the whole file"
            )

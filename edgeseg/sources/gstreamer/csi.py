"""CSI source: cameras on a board's own camera connector."""

from __future__ import annotations

from collections.abc import Callable

from edgeseg.clock import Clock
from edgeseg.errors import SourceError
from edgeseg.sources.gstreamer.source import GstreamerSource, has_element

# What every sensor in use can be scaled to by its own signal processor; networks see less.
_SIZE = "width=1280,height=720"


class CsiSource(GstreamerSource):
    """``csi://0``: short for a pipeline with Jetson's ``nvarguscamerasrc``, or else ``libcamerasrc``."""

    def __init__(
        self,
        camera: str,
        *,
        shown: str,
        clock: Clock | None = None,
        open_timeout_s: float = 5.0,
        read_timeout_s: float = 3.0,
    ) -> None:
        super().__init__(
            "", shown=shown, clock=clock, open_timeout_s=open_timeout_s, read_timeout_s=read_timeout_s
        )
        self._camera = camera

    def _build(self) -> None:
        self._pipeline = csi_pipeline(self._camera, self.shown, lambda name: has_element(self.shown, name))
        super()._build()


def csi_pipeline(camera: str, shown: str, has: Callable[[str], bool]) -> str:
    """camera: which, from 0. has: whether GStreamer has an element. Raises SourceError (``not_found``)."""
    if not (camera.isascii() and camera.isdigit()):
        raise SourceError("not_found", f"{shown}: expected the camera's number, as in csi://0")
    if has("nvarguscamerasrc"):
        return (
            f"nvarguscamerasrc sensor-id={int(camera)} ! video/x-raw(memory:NVMM),{_SIZE} ! nvvidconv ! "
            "video/x-raw,format=I420 ! appsink"
        )
    if not has("libcamerasrc"):
        raise SourceError(
            "not_found",
            f"{shown}: GStreamer has neither nvarguscamerasrc (NVIDIA JetPack) nor libcamerasrc; "
            "sudo apt-get install gstreamer1.0-libcamera",
        )
    if int(camera):
        raise SourceError(
            "not_found",
            f"{shown}: libcamera names its cameras (cam --list); write gstreamer: libcamerasrc "
            "camera-name=NAME ! appsink",
        )
    return f"libcamerasrc ! video/x-raw,format=NV12,{_SIZE} ! appsink"

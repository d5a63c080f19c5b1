"""RTSP server: plays a clip as a camera would, under the system's Python with GStreamer's bindings.

    /usr/bin/python3 rtsp_server.py FEED.json

FEED.json, written by ``clips.feed``: {"fps", "data": FILE, "units": [[offset, size, keyframe], ...]}, each
unit one H.264 access unit in Annex B. Every client begins at another keyframe, so that cameras do not move in
step. Prints ``ready PORT``; the end of standard input ends the server.
"""

# mypy: ignore-errors

import json
import sys
from pathlib import Path

LAUNCH = (
    "( appsrc name=feed is-live=true do-timestamp=true format=time "
    "caps=video/x-h264,stream-format=byte-stream,alignment=au ! h264parse ! "
    "rtph264pay name=pay0 pt=96 config-interval=-1 )"
)
# The golden ratio's fraction: however many clients come, their beginnings are spread evenly.
SPREAD = 0.618034


class StreamFeed:
    """The clip, and how many clients came."""

    def __init__(self, plan, glib, gst):
        self.glib, self.gst = glib, gst
        self.interval_ms = round(1000 / plan["fps"])
        self.data = Path(plan["data"]).read_bytes()
        self.units = plan["units"]
        self.keyframes = [index for index, unit in enumerate(self.units) if unit[2]]
        self.clients = 0

    def start(self, factory, media):
        appsrc = media.get_element().get_by_name_recurse_up("feed")
        start = int((self.clients * SPREAD % 1) * len(self.keyframes))
        self.clients += 1
        position = [self.keyframes[start]]

        def push():
            offset, size, _ = self.units[position[0]]
            position[0] = (position[0] + 1) % len(self.units)
            buffer = self.gst.Buffer.new_wrapped(self.data[offset : offset + size])
            return appsrc.emit("push-buffer", buffer) == self.gst.FlowReturn.OK

        push()
        self.glib.timeout_add(self.interval_ms, push)


def main():
    # Here, since only the system's Python has them.
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer

    plan = json.loads(Path(sys.argv[1]).read_text())
    Gst.init(None)
    feed = StreamFeed(plan, GLib, Gst)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service("0")
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(LAUNCH)
    factory.set_shared(False)
    factory.connect("media-configure", feed.start)
    server.get_mount_points().add_factory("/stream", factory)
    server.attach(None)
    GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IOCondition.HUP, lambda *_: sys.exit(0))
    print("ready", server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()

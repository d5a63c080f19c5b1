"""A real RTSP server for the tests; run under the system's Python, which has GStreamer's bindings.

    /usr/bin/python3 rtsp_server.py FEED.json

FEED.json, written by ``rtsp_fixtures``: {"fps", "loop", "port", "codec", "user", "password", "digest",
"clips": [{"data": FILE, "units": [[offset, size, keyframe], ...]}]}, each unit one access unit in Annex B,
codec h264 or hevc; "paths": {PATH: clip}, each playing that clip for good, beside /stream. Prints ``ready
PORT``. A line ``switch N`` on standard input goes on with clip N at its first unit; the end of standard input
ends the server, so that it never outlives its test.
"""

import json
import sys
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

LAUNCH = (
    "( appsrc name=feed is-live=true do-timestamp=true format=time "
    "caps=video/x-{name},stream-format=byte-stream,alignment=au ! {name}parse ! "
    "rtp{name}pay name=pay0 pt=96 config-interval=-1 )"
)
GSTREAMER_NAMES = {"h264": "h264", "hevc": "h265"}


class LiveFeed:
    """The clips and where every client's pipeline is in them."""

    def __init__(self, plan, current=0):
        self.fps = plan["fps"]
        self.loop = plan["loop"]
        self.clips = [(Path(clip["data"]).read_bytes(), clip["units"]) for clip in plan["clips"]]
        self.current = current

    def start(self, factory, media):
        appsrc = media.get_element().get_by_name_recurse_up("feed")
        position = {"clip": self.current, "unit": 0}

        def push():
            if position["clip"] != self.current:
                position.update(clip=self.current, unit=0)
            data, units = self.clips[position["clip"]]
            if position["unit"] == len(units):
                if not self.loop:
                    appsrc.emit("end-of-stream")
                    return False
                position["unit"] = 0
            offset, size, _ = units[position["unit"]]
            position["unit"] += 1
            buffer = Gst.Buffer.new_wrapped(data[offset : offset + size])
            return appsrc.emit("push-buffer", buffer) == Gst.FlowReturn.OK

        push()
        GLib.timeout_add(round(1000 / self.fps), push)

    def command(self, channel, condition):
        line = channel.readline()
        if not line:
            sys.exit(0)
        self.current = int(line.split()[1])
        return True


def protect(server, factory, user, password, digest):
    auth = GstRtspServer.RTSPAuth.new()
    token = GstRtspServer.RTSPToken.new()
    token.set_string("media.factory.role", "viewer")
    if digest:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    else:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    allow_viewer(factory)


def allow_viewer(factory):
    allow = Gst.Structure.new_empty("viewer")
    allow.set_value("media.factory.access", True)
    allow.set_value("media.factory.construct", True)
    factory.add_role_from_structure(allow)


def main():
    plan = json.loads(Path(sys.argv[1]).read_text())
    Gst.init(None)
    feed = LiveFeed(plan)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(str(plan["port"]))
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(LAUNCH.format(name=GSTREAMER_NAMES[plan["codec"]]))
    factory.set_shared(False)
    factory.connect("media-configure", feed.start)
    if plan["user"]:
        protect(server, factory, plan["user"], plan["password"], plan["digest"])
    server.get_mount_points().add_factory("/stream", factory)
    for path, clip in plan.get("paths", {}).items():
        other = GstRtspServer.RTSPMediaFactory.new()
        other.set_launch(LAUNCH.format(name=GSTREAMER_NAMES[plan["codec"]]))
        other.connect("media-configure", LiveFeed(plan, clip).start)
        if plan["user"]:
            allow_viewer(other)
        server.get_mount_points().add_factory(path, other)
    server.attach(None)
    GLib.io_add_watch(
        sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IOCondition.IN | GLib.IOCondition.HUP, feed.command
    )
    print("ready", server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


main()

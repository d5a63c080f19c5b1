"""Two cameras and a daemon: one camera suffers, the other must not notice."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from edgeseg.tools.soak.alert_audit import audit
from edgeseg.tools.soak.process_resources import ProcessResources
from tests.faults.ledger import Row
from tests.faults.scene import Scene, pause
from tests.support.rtsp_fixtures import RtspServer

# From edgeseg/camera.py: no picture for so long is stale; and the margin that the project promises.
STALE_AFTER_S = 3.0
NOTICED_WITHIN_S = STALE_AFTER_S + 1.0
# What a camera that is back may take until its first result, beyond the distance of its keyframes.
BACK_WITHIN_S = 3.0
GOP_S = 1.0


class Pair:
    """A camera that will suffer, ``faulty``, and one that must not notice, ``other``."""

    def __init__(self, stack: ExitStack, folder: Path, faulty: str, blink: Path, health: str = "off") -> None:
        other = stack.enter_context(RtspServer(blink))
        cameras = {"faulty": faulty, "other": other.url}
        self.scene = stack.enter_context(Scene(folder, cameras, health=health))
        pause(2.0)
        self.before = ProcessResources.of(self.scene.pid)
        self.began_s = time.monotonic()

    def row(self, fault: str, noticed_s: float | None, recovered_s: float | None, what: str) -> Row:
        found = audit(self.scene.watcher.alerts)
        leaks = self.scene.leaks(self.before)
        return Row("camera", fault, noticed_s, recovered_s, found.lost, found.unmarked, leaks, what)

    def check(self, row: Row) -> None:
        """Nothing was lost and nothing was left behind, and the other camera's results never paused."""
        assert audit(self.scene.watcher.alerts).clean
        assert row.leaks == 0
        assert self.scene.daemon.process.poll() is None
        unwell = [
            one.payload
            for one in self.scene.watcher.since(self.began_s, "/other/status")
            if one.payload["state"] != "live"
        ]
        assert not unwell
        assert "Traceback" not in self.scene.daemon.log

    def reason(self) -> str:
        """What subscribers were told last of the camera while it was away."""
        told = [
            f"{one.payload['state']} ({one.payload['reason']})"
            for one in self.scene.watcher.since(self.began_s, "/faulty/status")
            if one.payload["state"] not in ("live", "connecting")
        ]
        return ", then ".join(dict.fromkeys(told)) or "stays live"

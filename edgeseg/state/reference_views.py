"""The views that a camera's zones were drawn on, kept over restarts: what the drift guard compares with."""

from __future__ import annotations

from edgeseg.state.database import Execute
from edgeseg.state.node_state import NodeState


class CameraViews:
    """One camera's; one view with colour and one without, as infrared light gives them."""

    def __init__(self, state: NodeState, camera: str) -> None:
        self._state = state
        self._camera = camera

    def stored(self) -> list[str]:
        """What was kept, in the words of whoever kept it."""
        rows = self._state.database.read("SELECT body FROM view WHERE camera = ?", self._camera)
        return [body for (body,) in rows]

    def keep(self, body: str, *, grey: bool) -> None:
        """In place of what was kept of that kind before."""

        def change(execute: Execute) -> None:
            execute("INSERT OR REPLACE INTO view VALUES (?, ?, ?)", (self._camera, grey, body))

        self._state.database.write(change)

    def forget(self) -> None:
        """The next healthy view is a new reference."""

        def change(execute: Execute) -> None:
            execute("DELETE FROM view WHERE camera = ?", (self._camera,))

        self._state.database.write(change)

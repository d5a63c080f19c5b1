"""Roll-out: brings a pipeline file to devices stage by stage, and takes it back where it fails.

Nothing is changed anywhere before every device has the file beside the old one and says that it is right. A
stage is done when its nodes say that this file is in force and their cameras are live, and still are a while
later. The file of before stays on each device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgeseg.errors import EdgesegError
from edgeseg.tools.fleet.collect import FleetMonitor
from edgeseg.tools.fleet.devices import Device, DeviceError, DeviceLayout
from edgeseg.tools.fleet.node_status import Fleet, NodeStatus

# The old file was in force minutes ago: what takes longer now has another cause.
_BACK_WITHIN_S = 120.0


class RolledBackError(EdgesegError):
    """It did not go well; every device has its file of before, or is named."""


@dataclass(frozen=True, slots=True)
class Target:
    """A device and what goes there. node: as the fleet calls it. cameras: the new file's."""

    device: Device
    node: str
    content: bytes
    cameras: frozenset[str]

    @property
    def digest(self) -> str:
        """sha256 in hex, as the node will tell it."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Before:
    """A node as it was. live: its cameras that were."""

    pipeline: str
    cameras: frozenset[str]
    live: frozenset[str]
    restarts: int


class Steps(Protocol):
    """What is done on one device; ``Layout`` is one."""

    def lay(self, device: Device, content: bytes, models: tuple[Path, ...] = ()) -> None: ...
    def swap(self, device: Device) -> None: ...
    def put_back(self, device: Device, digest: str) -> None: ...
    def forget(self, device: Device) -> None: ...


class RollOut:
    """within_s: for a stage's nodes to be well. settle_s: for how long they then have to stay so. say: takes
    a line for people at each step."""

    def __init__(
        self,
        targets: Sequence[Target],
        layout: DeviceLayout,
        monitor: FleetMonitor,
        *,
        within_s: float,
        settle_s: float,
        say: Callable[[str], None],
    ) -> None:
        self._targets = tuple(targets)
        self._layout: Steps = layout
        self._monitor = monitor
        self._within_s = within_s
        self._settle_s = settle_s
        self._say = say
        self._before: dict[str, Before] = {}
        self._changed: list[Target] = []

    def run(self, stages: Sequence[int], models: tuple[Path, ...] = ()) -> None:
        """stages: how many devices have the file after each; the last one is all of them.

        Raises EdgesegError before anything was changed, RolledBackError after.
        """
        self._before = {target.node: self._of_now(target) for target in self._targets}
        laid: list[Target] = []
        try:
            for target in self._targets:
                self._layout.lay(target.device, target.content, models)
                laid.append(target)
                self._say(f"{target.node}: there, and right")
            for stage in stages:
                self._stage(self._targets[len(self._changed) : stage])
                self._say(f"{stage} of {len(self._targets)}: well")
        except (EdgesegError, KeyboardInterrupt) as error:
            why = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
            left = [target for target in laid if target not in self._changed]
            stuck = [*self._each(left, self._forget), *self._roll_back()]
            if not self._changed and not stuck:
                raise EdgesegError(f"{why}; nothing was changed") from None
            raise RolledBackError("; ".join((why, self._outcome(stuck)))) from None

    def _stage(self, targets: Sequence[Target]) -> None:
        for target in targets:
            # First: a step that fails halfway may have changed the device.
            self._changed.append(target)
            self._layout.swap(target.device)
            self._say(f"{target.node}: changed")
        if not self._monitor.until(lambda fleet: not list(self._ailing(fleet)), self._within_s):
            words = "; ".join(self._ailing(self._monitor.fleet))
            raise EdgesegError(f"not well within {self._within_s:g} s: {words}")
        if self._monitor.until(lambda fleet: bool(list(self._ailing(fleet))), self._settle_s):
            raise EdgesegError("well at first, then not: " + "; ".join(self._ailing(self._monitor.fleet)))

    def _ailing(self, fleet: Fleet) -> Iterator[str]:
        """What is wrong with those that have the new file, in words."""
        for target in self._changed:
            if words := _ailment(fleet.nodes.get(target.node), target, self._before[target.node]):
                yield f"{target.node}: {words}"

    def _roll_back(self) -> list[str]:
        """Returns the devices that could not be reached, with the reason."""
        for target in self._changed:
            self._say(f"{target.node}: back to the file of before")
        return self._each(self._changed, self._put_back)

    def _put_back(self, target: Target) -> None:
        self._layout.put_back(target.device, target.digest)

    def _forget(self, target: Target) -> None:
        self._layout.forget(target.device)

    def _each(self, targets: Sequence[Target], step: Callable[[Target], None]) -> list[str]:
        failed = []
        for target in targets:
            try:
                step(target)
            except DeviceError as error:
                failed.append(str(error))
        return failed

    def _outcome(self, stuck: Sequence[str]) -> str:
        if stuck:
            return "NOT put back, the file of before lies beside as .previous: " + "; ".join(stuck)

        def back(fleet: Fleet) -> bool:
            nodes = ((fleet.nodes.get(one.node), self._before[one.node]) for one in self._changed)
            return all(
                node is not None and node.online and node.pipeline == was.pipeline for node, was in nodes
            )

        names = ", ".join(target.node for target in self._changed)
        if self._monitor.until(back, _BACK_WITHIN_S):
            return f"rolled back, the file of before is in force again: {names}"
        return f"put back, but not every node says so within {_BACK_WITHIN_S:g} s: {names}"

    def _of_now(self, target: Target) -> Before:
        node = self._monitor.fleet.nodes.get(target.node)
        if node is None or not node.online:
            known = "the broker does not know it" if node is None else f"it is {node.availability}"
            raise EdgesegError(
                f"node {target.node}: {known}; nothing was changed. {target.device.name}=NODE names it"
            )
        if node.pipeline is None:
            words = "does not tell its pipeline file; it needs a newer edgeseg first"
            raise EdgesegError(f"node {target.node}: {words}; nothing was changed")
        return Before(node.pipeline, frozenset(node.cameras), _live(node), node.restarts or 0)


def _ailment(node: NodeStatus | None, target: Target, before: Before) -> str | None:
    if node is None or not node.online:
        return "offline"
    if node.pipeline != target.digest:
        return "the new file is not in force; its log says why"
    if (node.restarts or 0) > before.restarts:
        return "it restarted without being asked"
    # What was down before, or switched off, need not come up now.
    wanted = (before.live | (target.cameras - before.cameras)) & target.cameras
    missing = sorted(wanted - _live(node))
    if missing:
        return ", ".join(f"camera {name} is {node.cameras.get(name, 'unknown')}" for name in missing)
    return None


def _live(node: NodeStatus) -> frozenset[str]:
    return frozenset(name for name, state in node.cameras.items() if state == "live")

"""Roll-out: brings a pipeline file to devices stage by stage, and takes it back where it fails.

No device is changed before every device has the file beside the old one and has checked it. A stage is done
when its nodes report that this file is in force and their cameras are live, and stay so for a while. The old
file stays on each device.
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
    """The roll-out failed. Every device has its old file again, or the message names it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A device and what goes there. node: its name in the topics. cameras: the new file's."""

    device: Device
    node: str
    content: bytes
    cameras: frozenset[str]

    @property
    def digest(self) -> str:
        """sha256 in hex, as the node will report it."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Before:
    """The state of a node before the roll-out. live: its live cameras."""

    pipeline: str
    cameras: frozenset[str]
    live: frozenset[str]
    restarts: int


class DeviceSteps(Protocol):
    """The steps on one device; ``DeviceLayout`` implements them."""

    def upload(self, device: Device, content: bytes, models: tuple[Path, ...] = ()) -> None: ...
    def activate(self, device: Device) -> None: ...
    def restore(self, device: Device, digest: str) -> None: ...
    def discard(self, device: Device) -> None: ...


class RollOut:
    """Brings a file to devices stage by stage, and takes it back from all where a stage fails.

    Args:
        targets: the devices, in their order.
        layout: where the files are on a device.
        monitor: of the nodes' state.
        within_s: the time in which the nodes of a stage must be healthy.
        settle_s: for how long they must then stay healthy.
        report: called with a line at each step.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        layout: DeviceLayout,
        monitor: FleetMonitor,
        *,
        within_s: float,
        settle_s: float,
        report: Callable[[str], None],
    ) -> None:
        self._targets = tuple(targets)
        self._layout: DeviceSteps = layout
        self._monitor = monitor
        self._within_s = within_s
        self._settle_s = settle_s
        self._report = report
        self._before: dict[str, Before] = {}
        self._changed: list[Target] = []

    def run(self, stages: Sequence[int], models: tuple[Path, ...] = ()) -> None:
        """Run all stages. stages: how many devices have the file after each; the last one is all of them.

        Raises EdgesegError before anything was changed, RolledBackError after.
        """
        self._before = {target.node: self._state_now(target) for target in self._targets}
        uploaded: list[Target] = []
        try:
            for target in self._targets:
                self._layout.upload(target.device, target.content, models)
                uploaded.append(target)
                self._report(f"{target.node}: file checked")
            for stage in stages:
                self._stage(self._targets[len(self._changed) : stage])
                self._report(f"{stage} of {len(self._targets)}: healthy")
        except (EdgesegError, KeyboardInterrupt) as error:
            why = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
            left = [target for target in uploaded if target not in self._changed]
            stuck = [*self._each(left, self._discard), *self._roll_back()]
            if not self._changed and not stuck:
                raise EdgesegError(f"{why}; nothing was changed") from None
            raise RolledBackError("; ".join((why, self._outcome(stuck)))) from None

    def _stage(self, targets: Sequence[Target]) -> None:
        for target in targets:
            # First: a step that fails halfway may have changed the device.
            self._changed.append(target)
            self._layout.activate(target.device)
            self._report(f"{target.node}: changed")
        if not self._monitor.until(lambda fleet: not list(self._problems(fleet)), self._within_s):
            problems = "; ".join(self._problems(self._monitor.fleet))
            raise EdgesegError(f"not healthy within {self._within_s:g} s: {problems}")
        if self._monitor.until(lambda fleet: bool(list(self._problems(fleet))), self._settle_s):
            raise EdgesegError(
                "healthy at first, then not: " + "; ".join(self._problems(self._monitor.fleet))
            )

    def _problems(self, fleet: Fleet) -> Iterator[str]:
        """Yield a line for each node with the new file that is not healthy."""
        for target in self._changed:
            if problem := _problem(fleet.nodes.get(target.node), target, self._before[target.node]):
                yield f"{target.node}: {problem}"

    def _roll_back(self) -> list[str]:
        """Returns the devices that could not be reached, with the reason."""
        for target in self._changed:
            self._report(f"{target.node}: back to the old file")
        return self._each(self._changed, self._restore)

    def _restore(self, target: Target) -> None:
        self._layout.restore(target.device, target.digest)

    def _discard(self, target: Target) -> None:
        self._layout.discard(target.device)

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
            return "NOT put back, the old file is there as .previous: " + "; ".join(stuck)

        def back(fleet: Fleet) -> bool:
            nodes = ((fleet.nodes.get(one.node), self._before[one.node]) for one in self._changed)
            return all(
                node is not None and node.online and node.pipeline == was.pipeline for node, was in nodes
            )

        names = ", ".join(target.node for target in self._changed)
        if self._monitor.until(back, _BACK_WITHIN_S):
            return f"rolled back, the old file is in force again: {names}"
        return f"put back, but not every node confirms it within {_BACK_WITHIN_S:g} s: {names}"

    def _state_now(self, target: Target) -> Before:
        node = self._monitor.fleet.nodes.get(target.node)
        if node is None or not node.online:
            known = "the broker does not know it" if node is None else f"it is {node.availability}"
            raise EdgesegError(
                f"node {target.node}: {known}; nothing was changed. {target.device.name}=NODE names it"
            )
        if node.pipeline is None:
            reason = "does not report its pipeline file; update edgeseg there first"
            raise EdgesegError(f"node {target.node}: {reason}; nothing was changed")
        return Before(node.pipeline, frozenset(node.cameras), _live(node), node.restarts or 0)


def _problem(node: NodeStatus | None, target: Target, before: Before) -> str | None:
    if node is None or not node.online:
        return "offline"
    if node.pipeline != target.digest:
        return "the new file is not in force; see its log"
    if (node.restarts or 0) > before.restarts:
        return "it restarted unexpectedly"
    # What was down before, or switched off, need not come up now.
    wanted = (before.live | (target.cameras - before.cameras)) & target.cameras
    missing = sorted(wanted - _live(node))
    if missing:
        return ", ".join(f"camera {name} is {node.cameras.get(name, 'unknown')}" for name in missing)
    return None


def _live(node: NodeStatus) -> frozenset[str]:
    return frozenset(name for name, state in node.cameras.items() if state == "live")

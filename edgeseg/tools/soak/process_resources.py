"""Process resources: a daemon's processes, descriptors, threads and shared memory, from /proc."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


def session(leader: int) -> list[int]:
    """The processes of the session that ``leader`` began, zombies left out."""
    found = []
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            fields = _stat(int(folder.name))
            if fields and fields[3] == str(leader) and fields[0] != "Z":
                found.append(int(folder.name))
    return sorted(found)


def parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def cameras(leader: int) -> list[int]:
    """Camera processes: children of the daemon's children (of its fork server)."""
    return [pid for pid in session(leader) if pid != leader and parent(parent(pid)) == leader]


def connected_to(leader: int, port: int) -> int | None:
    """The camera process of the daemon ``leader`` that has a connection to a port of this machine."""
    inodes = set()
    for line in (PROC / "net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        # 01: established (include/net/tcp_states.h)
        if int(fields[2].rpartition(":")[2], 16) == port and fields[3] == "01":
            inodes.add(f"socket:[{fields[9]}]")
    for pid in cameras(leader):
        if inodes & set(_descriptors(pid)):
            return pid
    return None


@dataclass(frozen=True, slots=True)
class ProcessResources:
    """descriptors and threads: of the daemon itself. processes: all of them. memories: the shared memory that
    any of them maps."""

    descriptors: int
    threads: int
    processes: int
    memories: int

    @staticmethod
    def of(leader: int) -> ProcessResources:
        everybody = session(leader)
        return ProcessResources(
            len(_descriptors(leader)),
            len(list((PROC / str(leader) / "task").iterdir())),
            len(everybody),
            len({memory for pid in everybody for memory in _shared_memory(pid)}),
        )

    def beyond(self, before: ProcessResources) -> int:
        """How much more this is than before, all kinds together."""
        return sum(
            max(0, getattr(self, name) - getattr(before, name))
            for name in ("descriptors", "threads", "processes", "memories")
        )


def peak_memory_mib(pid: int) -> float:
    """The largest resident size so far; 0 for a process that is gone."""
    try:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def resident_mib(pid: int) -> float:
    """The resident size now; 0 for a process that is gone."""
    try:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


def _stat(pid: int) -> list[str]:
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _shared_memory(pid: int) -> set[str]:
    """By inode: mapped by several processes, it is one."""
    try:
        lines = (PROC / str(pid) / "maps").read_text().splitlines()
    except OSError:
        return set()
    return {line.split()[4] for line in lines if "/memfd:" in line or "/dev/shm/" in line}


def _descriptors(pid: int) -> list[str]:
    targets = []
    try:
        entries = list((PROC / str(pid) / "fd").iterdir())
    except OSError:
        return []
    for entry in entries:
        try:
            targets.append(str(entry.readlink()))
        except OSError:
            continue
    return targets

"""CPU quota: how many cores this process may use, by affinity mask and cgroup.

A container or a systemd unit with ``CPUQuota=60%`` sees all cores of the machine in ``sched_getaffinity`` and
is stopped for the rest of each period once it has used its share. Sources: the kernel's documentation,
admin-guide/cgroup-v2 (``cpu.max``) and scheduler/sched-bwc (``cpu.cfs_quota_us``), cgroups(7) and
proc_pid_mountinfo(5).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def available_cpus(root: Path = Path("/")) -> float:
    """Cores' worth of CPU time that this process can get, more than 0: 0.6 under a quota of 60 %.

    root: where ``proc`` and the cgroup file systems are found. Never raises: a quota that cannot be read
    counts as none.
    """
    cores = float(len(os.sched_getaffinity(0)))
    quota = cpu_quota(root)
    return cores if quota is None else min(cores, quota)


def whole_cpus(root: Path = Path("/")) -> int:
    """``available_cpus`` as a number of threads to run at once: the nearest whole number, at least 1."""
    return max(1, int(available_cpus(root) + 0.5))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """The tightest quota of this process's cgroup and of all above it, in cores; None where there is none."""
    quotas = [quota for folder in _folders(root) if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def parse_cpu_max(text: str) -> float | None:
    """``cpu.max`` of cgroup v2, "60000 100000" -> 0.6; None for "max 100000" and for what is no quota."""
    quota, _, period = text.strip().partition(" ")
    return parse_cfs(quota, period or "100000")


def parse_cfs(quota_us: str, period_us: str) -> float | None:
    """``cpu.cfs_quota_us`` and ``cpu.cfs_period_us`` of cgroup v1; None for "-1" and for what is no quota."""
    try:
        quota, period = int(quota_us), int(period_us)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None


def _quota_of(folder: Path) -> float | None:
    v2 = parse_cpu_max(_text(folder / "cpu.max"))
    if v2 is not None:
        return v2
    return parse_cfs(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))


def _folders(root: Path) -> Iterator[Path]:
    """The folders of this process's cgroups that may hold a CPU quota, each followed by all above it."""
    mounts = list(_mounts(_text(root / "proc/self/mountinfo")))
    for line in _text(root / "proc/self/cgroup").splitlines():
        fields = line.split(":", 2)
        if len(fields) != 3:
            continue
        hierarchy, controllers, path = fields
        v2 = hierarchy == "0" and not controllers
        if not v2 and "cpu" not in controllers.split(","):
            continue
        for is_v2, mounted_root, mount_point in mounts:
            if is_v2 == v2:
                top = root / mount_point.lstrip("/")
                yield from _upwards(top, _below(path, mounted_root))


def _mounts(mountinfo: str) -> Iterator[tuple[bool, str, str]]:
    """Whether it is cgroup v2, the cgroup at the mount's top, and the mount point, for each that can hold
    ``cpu``."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2" or (kind[0] == "cgroup" and "cpu" in kind[2].split(",")):
            # Spaces in a path are written as \040.
            yield kind[0] == "cgroup2", fields[3], fields[4].replace("\\040", " ")


def _below(path: str, mounted_root: str) -> tuple[str, ...]:
    """The cgroup's place below the mount; the top itself where it lies outside, as seen from a container."""
    try:
        parts = PurePosixPath(path).relative_to(mounted_root).parts
    except ValueError:
        return ()
    return () if ".." in parts else parts


def _upwards(top: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    for end in range(len(parts), -1, -1):
        yield top.joinpath(*parts[:end])


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""

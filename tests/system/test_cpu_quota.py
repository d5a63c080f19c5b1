"""How many cores there are where a cgroup gives fewer: trees of files as kernels and containers show them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from edgeseg.system.cpu_quota import available_cpus, cpu_quota, parse_cfs, parse_cpu_max, whole_cpus

V2 = "30 24 0:26 {top} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "33 24 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
V1_MEMORY = "34 24 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"


def tree(root: Path, cgroup: str, mounts: str, files: Mapping[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mounts, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("60000 100000\n", 0.6),
        ("250000 100000", 2.5),
        ("5000", 0.05),
        ("max 100000\n", None),
        ("", None),
        ("0 100000", None),
        ("100000 0", None),
        ("one 100000", None),
        ("60000 100000 7", None),
    ],
)
def test_cpu_max(text: str, quota: float | None) -> None:
    assert parse_cpu_max(text) == quota


@pytest.mark.parametrize(
    ("quota_us", "period_us", "quota"),
    [("60000\n", "100000\n", 0.6), ("-1\n", "100000\n", None), ("", "", None), ("60000", "0", None)],
)
def test_cfs(quota_us: str, period_us: str, quota: float | None) -> None:
    assert parse_cfs(quota_us, period_us) == quota


def test_v2_the_tightest_of_all_above_counts(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/a.slice/cpu.max": "60000 100000",
        "sys/fs/cgroup/a.slice/b.service/cpu.max": "150000 100000",
    }
    root = tree(tmp_path, "0::/a.slice/b.service\n", V2.format(top="/"), files)
    assert cpu_quota(root) == 0.6
    assert available_cpus(root) == 0.6
    assert whole_cpus(root) == 1


def test_v2_in_a_container_that_sees_its_own_group_as_the_top(tmp_path: Path) -> None:
    root = tree(tmp_path, "0::/\n", V2.format(top="/"), {"sys/fs/cgroup/cpu.max": "50000 100000"})
    assert cpu_quota(root) == 0.5


def test_v2_of_a_process_outside_of_what_it_sees(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/cpu.max": "max 100000", "secret/cpu.max": "1000 100000"}
    root = tree(tmp_path, "0::/../../secret\n", V2.format(top="/"), files)
    assert cpu_quota(root) is None


def test_v1_in_a_container(tmp_path: Path) -> None:
    """The path is the host's, the mount begins at the container's group."""
    group = "sys/fs/cgroup/cpu,cpuacct/"
    files = {group + "cpu.cfs_quota_us": "60000\n", group + "cpu.cfs_period_us": "100000\n"}
    cgroup = "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n"
    root = tree(tmp_path, cgroup, V1_MEMORY + V1.format(top="/docker/abc"), files)
    assert cpu_quota(root) == 0.6


def test_v1_on_the_host(tmp_path: Path) -> None:
    files = {}
    for group, quota in (("", "-1"), ("system.slice/", "70000"), ("system.slice/x.service/", "-1")):
        files[f"sys/fs/cgroup/cpu,cpuacct/{group}cpu.cfs_quota_us"] = quota
        files[f"sys/fs/cgroup/cpu,cpuacct/{group}cpu.cfs_period_us"] = "100000"
    root = tree(tmp_path, "4:cpu,cpuacct:/system.slice/x.service\n0::/\n", V1.format(top="/"), files)
    assert cpu_quota(root) == 0.7


@pytest.mark.parametrize("cgroup", ["", "0::/gone\n", "nonsense", "0::", "::::\n"])
def test_what_cannot_be_read_is_no_quota(tmp_path: Path, cgroup: str) -> None:
    assert available_cpus(tree(tmp_path, cgroup, "short - \n" + V2.format(top="/"), {})) > 0.99
    assert cpu_quota(tmp_path / "nothing") is None


def test_a_large_quota_gives_no_more_than_the_affinity_mask(tmp_path: Path) -> None:
    root = tree(tmp_path, "0::/\n", V2.format(top="/"), {"sys/fs/cgroup/cpu.max": "99900000 100000"})
    assert available_cpus(root) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("quota", "threads"), [("5000", 1), ("60000", 1), ("99900000", None)])
def test_threads_to_run_at_once(tmp_path: Path, quota: str, threads: int | None) -> None:
    root = tree(tmp_path, "0::/\n", V2.format(top="/"), {"sys/fs/cgroup/cpu.max": quota})
    assert whole_cpus(root) == (threads or len(os.sched_getaffinity(0)))

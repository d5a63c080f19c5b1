"""A CPU quota for one process and its children, where this machine's cgroups can be written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_PERIOD_US = 100_000
_V1, _V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")


@contextmanager
def cpu_quota(cores: float) -> Iterator[list[str]]:
    """A command that ``exec``s what follows it under a quota of so many cores, as root only. Skips the test
    where cgroups cannot be written."""
    folder = (_V1 if (_V1 / "cpu.cfs_quota_us").exists() else _V2) / f"edgeseg-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        quota_us = round(cores * _PERIOD_US)
        try:
            if (folder / "cpu.cfs_quota_us").exists():
                (folder / "cpu.cfs_quota_us").write_text(str(quota_us))
            else:
                (folder / "cpu.max").write_text(f"{quota_us} {_PERIOD_US}")
        except OSError as error:
            pytest.skip(f"no CPU quota can be set here: {error}")
        yield ["/bin/sh", "-c", f'echo $$ > {folder}/cgroup.procs && exec "$0" "$@"']
    finally:
        # Empty once its processes have ended.
        with suppress(OSError):
            folder.rmdir()

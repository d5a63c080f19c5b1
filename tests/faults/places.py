"""Surroundings that need a mount: small disks, read-only ones, another resolver. As root only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import missing


def _mount(*arguments: str) -> None:
    if os.geteuid() != 0:
        missing("root (for a mount)")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        missing(f"the right to mount ({done.stderr.strip()})")


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, e.g. of ``256k``."""
    folder.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size}", "edgeseg-faults", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """The folder as a read-only place."""
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,bind,ro", str(folder))
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def resolver_of(folder: Path, address: str) -> list[str]:
    """A command prefix: what it starts asks the resolver at ``address`` for names, and no hosts file."""
    if os.geteuid() != 0:
        missing("root (for another resolver)")
    (folder / "resolv.conf").write_text(f"nameserver {address}\n")
    (folder / "hosts").write_text("127.0.0.1 localhost\n")
    (folder / "nsswitch.conf").write_text("hosts: files dns\n")
    mounts = " && ".join(
        f"mount --bind {folder / name} /etc/{name}"
        for name in ("resolv.conf", "hosts", "nsswitch.conf")
        if Path("/etc", name).exists()
    )
    return ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh"]

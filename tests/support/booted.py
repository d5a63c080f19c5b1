"""A real systemd as process 1 of namespaces of its own, with edgeseg installed into its own /etc."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from types import TracebackType

from tests.conftest import ROOT, missing
from tests.support.broker import wait_until

SYSTEMD = Path("/lib/systemd/systemd")
NAMESPACES = ["--kill-child", "--mount", "--pid", "--fork", "--mount-proc", "--uts", "--ipc", "--cgroup"]

# All of it inside of a mount namespace: nothing of the machine's own /etc, /run, /var changes. The argument
# holds the new /etc.
PREPARE = """\
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/lib
mount -t tmpfs -o mode=755 tmpfs /var/cache
mount --bind "$1" /etc
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# Container managers do this: systemd hands credentials over by mounts that spread.
mount --make-rshared /
exec env -i container=other PATH=/usr/sbin:/usr/bin \\
    SYSTEMD_UNIT_PATH=/etc/systemd/booted:/etc/systemd/system \\
    /lib/systemd/systemd --log-target=console --log-color=no --show-status=no
"""
UNITS = {
    "default.target": "[Unit]\nDescription=booted\n",
    "network-online.target": "[Unit]\nDescription=network\n",
    "multi-user.target": "[Unit]\nDescription=many\n",
    "sysinit.target": "[Unit]\nDescription=init\n",
    "basic.target": "[Unit]\nDescription=basic\n",
    "shutdown.target": "[Unit]\nDescription=end\nDefaultDependencies=no\n",
}


# A unit of ours hides these, or has its own of them.
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")


def seen_by_services() -> str:
    """Lines of [Service] that show a unit of ours this Python and this clone, wherever they lie.

    Each is laid over where it is, in place of a home or a /tmp that the unit does not see, or of a folder
    that is closed to other users.
    """
    lines = ["ProtectHome=tmpfs"]
    for folder in _needed():
        quoted = '"{}"'.format(str(folder).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%"))
        hidden = any(folder.is_relative_to(top) for top in _HIDDEN)
        if not hidden and all(parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents)):
            continue
        if not hidden:
            lines.append(f"TemporaryFileSystem=/{folder.parts[1]}:ro")
        lines.append(f"BindReadOnlyPaths={quoted}")
    return "\n".join(dict.fromkeys(lines)) + "\n"


def _needed() -> list[Path]:
    """The clone, the virtual environment, and every folder on the way to the Python it comes from."""
    folders = {ROOT, Path(sys.prefix), Path(sys.base_prefix)}
    program = Path(sys.executable)
    while program.is_symlink():
        program = Path(os.path.normpath(program.parent / program.readlink()))
        folders.add(program.parent.parent)
    folders |= {folder.resolve() for folder in folders}
    return sorted(one for one in folders if not any(one.is_relative_to(top) for top in folders - {one}))


@lru_cache(maxsize=1)
def _lacks() -> str | None:
    """What keeps systemd from booting here."""
    if not SYSTEMD.exists() or shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return "systemd (Debian: systemd), unshare and nsenter"
    if os.geteuid() != 0:
        return "root, for namespaces,"
    probe = ["unshare", *NAMESPACES, "sh", "-c", "mount -t cgroup2 cgroup2 /sys/fs/cgroup"]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        return "permission for namespaces and cgroup2"
    return None


class Booted:
    """``with Booted(root) as system: system.ctl("start", ...)``.

    root: a folder whose ``etc`` is laid over a copy of this machine's.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def __enter__(self) -> Booted:
        if lacking := _lacks():
            missing(lacking)
        # Not below pytest's folder, which is closed to other users.
        self._folder = Path(tempfile.mkdtemp(prefix="booted-"))
        self._folder.chmod(0o755)
        etc = self._folder / "etc"
        shutil.copytree("/etc", etc, symlinks=True, ignore=shutil.ignore_patterns("systemd"))
        shutil.copytree(self._root / "etc", etc, dirs_exist_ok=True)
        (etc / "systemd" / "booted").mkdir()
        for name, text in UNITS.items():
            (etc / "systemd" / "booted" / name).write_text(text)
        script = self._folder / "prepare.sh"
        script.write_text(PREPARE)
        with (self._folder / "log").open("wb") as log:
            self._outer = subprocess.Popen(
                ["unshare", *NAMESPACES, "sh", str(script), str(etc)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._init = wait_until(self._first_process, "a process 1")
        wait_until(
            lambda: self._alive() and self.ctl("is-system-running") in ("running", "degraded"),
            "a booted systemd",
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            print(self.log)
        # --kill-child ends all that is in the namespaces.
        self._outer.kill()
        self._outer.wait(240)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def ctl(self, *arguments: str) -> str:
        """What systemctl says, standard error included."""
        return self.run("systemctl", "--no-pager", *arguments)

    def run(self, *command: str) -> str:
        into = ["nsenter", f"--target={self._init}", "--mount", "--pid", "--cgroup", "--uts", "--ipc"]
        answer = subprocess.run(
            [*into, "env", "-i", "PATH=/usr/sbin:/usr/bin", *command],
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        return (answer.stdout + answer.stderr).strip()

    def property(self, unit: str, name: str) -> str:
        return self.ctl("show", "--value", f"--property={name}", unit)

    def main_pid(self, unit: str) -> int:
        """Of the main process, as the namespaces count."""
        return int(self.property(unit, "MainPID"))

    def signal(self, unit: str, number: signal.Signals) -> None:
        """To the main process alone."""
        self.ctl("kill", "--kill-whom=main", f"--signal={int(number)}", unit)

    def _first_process(self) -> int | None:
        assert self._alive()
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def _alive(self) -> bool:
        assert self._outer.poll() is None, f"systemd did not boot: {self.log}"
        return True

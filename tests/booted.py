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

from tests.broker import wait_until
from tests.conftest import missing

SYSTEMD = Path("/lib/systemd/systemd")
NAMESPACES = ["--kill-child", "--mount", "--pid", "--fork", "--mount-proc", "--uts", "--ipc", "--cgroup"]

# All of it inside of a mount namespace: nothing of the machine's own /etc, /run, /var changes. The first
# argument holds the new /etc, the second is a folder that its user must be able to enter though it lies
# below one that is closed (a Python in /root).
PREPARE = """\
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/lib
mount -t tmpfs -o mode=755 tmpfs /var/cache
mount --bind "$1" /etc
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
case "$2" in /root/*|/home/*)
    top="/$(echo "$2" | cut -d/ -f2)"
    mkdir /run/base
    mount --bind "$2" /run/base
    mount -t tmpfs -o mode=755 tmpfs "$top"
    mkdir -p "$2"
    mount --bind /run/base "$2"
esac
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
                ["unshare", *NAMESPACES, "sh", str(script), str(etc), str(Path(sys.base_prefix))],
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
        self._outer.wait(20)
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
            timeout=60,
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

"""Devices: reached over ssh, or as a folder of this machine (a mounted disk, a container, a test)."""

from __future__ import annotations

import io
import shlex
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgeseg.errors import EdgesegError

# Starting Python on a small device takes seconds; a model may be some tens of MB over a thin link.
_ANSWERS_WITHIN_S = 300.0
_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15")


class DeviceError(EdgesegError):
    """A device could not be reached, or a step on it failed. Has the device's own message."""


class Device(Protocol):
    """Runs a POSIX shell script where the pipeline file is."""

    @property
    def name(self) -> str: ...

    def path(self, place: str) -> str:
        """What a script there calls the file at ``place``, an absolute path on the device."""

    def run(self, script: str, given: bytes = b"") -> str:
        """``given`` is its standard input. Returns what it put out. Raises DeviceError."""


@dataclass(frozen=True, slots=True)
class SshDevice:
    """A host as ssh knows it; sudo makes the script root's. Neither may ask for a password."""

    name: str

    def path(self, place: str) -> str:
        return place

    def run(self, script: str, given: bytes = b"") -> str:
        return _run(self.name, (*_SSH, "--", self.name, f"sudo -n sh -c {shlex.quote(script)}"), given, None)


@dataclass(frozen=True, slots=True)
class FolderDevice:
    """A device's file system below a folder of this machine; scripts run in that folder."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    def path(self, place: str) -> str:
        return f"./{place.lstrip('/')}"

    def run(self, script: str, given: bytes = b"") -> str:
        return _run(self.name, ("sh", "-c", script), given, self.folder)


def device(text: str) -> Device:
    """A name with a slash in it is a folder. Raises EdgesegError."""
    if "/" in text:
        if not Path(text).is_dir():
            raise EdgesegError(f"--to {text}: no such folder; a host's name has no slash")
        return FolderDevice(Path(text).resolve())
    if not text or text.startswith("-"):
        raise EdgesegError(f"--to {text!r}: expected a host as ssh knows it, or a folder with a slash")
    return SshDevice(text)


@dataclass(frozen=True, slots=True)
class DeviceLayout:
    """Where things are on every device. reload: the command that makes the daemon read its file again."""

    place: str
    program: str
    reload: str

    def upload(self, device: Device, content: bytes, models: tuple[Path, ...] = ()) -> None:
        """Brings file and models there under new names and has them checked; the running file is untouched.
        Raises DeviceError."""
        for model in models:
            device.run(self._bring_model(device, model.name), _tar(model))
        place, following = self._names(device)
        # The copy has the owner and the mode of the file in force, and keeps them.
        device.run(f"test -f {place} && cp -p {place} {following} && cat >{following} && sync", content)
        try:
            device.run(f"{self.program} check {following}")
        except DeviceError:
            self.discard(device)
            raise

    def activate(self, device: Device) -> None:
        """Put the new file in force and reload; the old one stays as ``.previous``."""
        place, following = self._names(device)
        kept = shlex.quote(f"{device.path(self.place)}.previous")
        keep = f"cp -p {place} {kept}.part && sync && mv -f {kept}.part {kept}"
        device.run(f"{keep} && mv -f {following} {place} && sync")
        device.run(self.reload)

    def restore(self, device: Device, digest: str) -> None:
        """The file of before ``swap`` is in its place again, and reloaded. digest: sha256 in hex of what was
        swapped in; where another file is there the swap had not come so far, and ``.previous`` is older."""
        place, following = self._names(device)
        kept = shlex.quote(f"{device.path(self.place)}.previous")
        swapped = f'[ "$(sha256sum <{place} | cut -c1-64)" = {digest} ]'
        back = f"cp -p {kept} {following} && sync && mv -f {following} {place} && sync"
        device.run(f"if {swapped}; then {back}; else rm -f {following}; fi")
        device.run(self.reload)

    def discard(self, device: Device) -> None:
        """Delete the files that ``upload`` brought and that were not put in force."""
        device.run(f"rm -f {self._names(device)[1]}")

    def _names(self, device: Device) -> tuple[str, str]:
        path = Path(device.path(self.place))
        following = path.with_name(f"{path.stem}.next{path.suffix}")
        prefix = "./" if device.path(self.place).startswith("./") else ""
        return shlex.quote(device.path(self.place)), shlex.quote(f"{prefix}{following}")

    def _bring_model(self, device: Device, name: str) -> str:
        folder = shlex.quote(str(Path(device.path(self.place)).parent / "models"))
        old, new = f"{folder}/{shlex.quote(name)}", f"{folder}/.next"
        words = shlex.quote(f"another model {name} is there already; give a changed model another name")
        return (
            f"mkdir -p {folder} && rm -rf {new} && mkdir {new} && tar -C {new} -xf - && "
            f"if [ -e {old} ]; then diff -rq {old} {new} >&2 || {{ echo {words} >&2; exit 1; }}; "
            f"rm -rf {new}; else sync && mv {new} {old}; fi"
        )


def _tar(folder: Path) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, file.name)
    return packed.getvalue()


def _run(name: str, command: tuple[str, ...], given: bytes, folder: Path | None) -> str:
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, cwd=folder, timeout=_ANSWERS_WITHIN_S, check=False
        )
    except FileNotFoundError:
        raise DeviceError(f"{name}: {command[0]} is not installed here") from None
    except subprocess.TimeoutExpired:
        raise DeviceError(f"{name}: no answer within {_ANSWERS_WITHIN_S:g} s") from None
    if done.returncode:
        message = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        raise DeviceError(f"{name}: {message or f'the step ended with exit code {done.returncode}'}")
    return done.stdout.decode("utf-8", "replace")

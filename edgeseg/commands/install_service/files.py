"""Service files: which files systemd needs for a pipeline file, where, and their text."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeseg.config.addresses import VARIABLE
from edgeseg.models.runtimes import AUTO, ENGINES
from edgeseg.settings import CameraSettings, PipelineSettings
from edgeseg.sources.gstreamer import launch_line
from edgeseg.system import paths

PIPELINES = Path("/etc/edgeseg")
UNITS = Path("/etc/systemd/system")
_PROGRAM = "/opt/edgeseg/bin/edgeseg"
# What needs no quoting in a unit.
_PLAIN = re.compile(r"[A-Za-z0-9/._+-]+")


@dataclass(frozen=True, slots=True)
class File:
    """What is to stand at ``path``. kept: what is there already stays, for people edit it."""

    path: Path
    text: str
    mode: int = 0o644
    kept: bool = False


@dataclass(frozen=True, slots=True)
class DeviceAccess:
    """What a kind of device needs of a service. lines: of its [Service]."""

    title: str
    lines: tuple[str, ...]


_OPEN = ("PrivateDevices=no", "PrivateUsers=no")
_JIT = ("MemoryDenyWriteExecute=no",)
DEVICES = {
    "v4l2": DeviceAccess(
        "cameras and decoders of Video4Linux",
        ("DeviceAllow=char-video4linux rw", "SupplementaryGroups=video"),
    ),
    "coral": DeviceAccess(
        "Coral Edge TPU",
        ("DeviceAllow=char-usb_device rw", "DeviceAllow=char-apex rw", "SupplementaryGroups=plugdev"),
    ),
    "render": DeviceAccess(
        "Intel and AMD graphics", ("DeviceAllow=char-drm rw", "SupplementaryGroups=render video", *_JIT)
    ),
    "nvidia": DeviceAccess(
        "NVIDIA",
        (
            "DeviceAllow=char-nvidia-frontend rw",
            "DeviceAllow=char-nvidia rw",
            "DeviceAllow=char-nvidia-uvm rw",
            "DeviceAllow=char-nvhost rw",
            "DeviceAllow=char-nvmap rw",
            "SupplementaryGroups=video",
            *_JIT,
        ),
    ),
}
# They compile a network's kernels on any CPU, at run time.
_COMPILERS = tuple(name for name in ENGINES if "openvino" in name)
_OF_ENGINES = {"coral": ("coral",), "cuda": ("nvidia",), "tensorrt": ("nvidia",), "openvino-gpu": ("render",)}
_OF_DECODERS = {"cuda": ("nvidia",), "vaapi": ("render",), "drm": ("render", "v4l2"), "v4l2m2m": ("v4l2",)}


def devices_of(settings: PipelineSettings) -> tuple[str, ...]:
    """Of DEVICES those that the file asks for by name; ``auto`` asks for none."""
    found = {device for camera in settings.cameras for device in _of_camera(camera)}
    return tuple(name for name in DEVICES if name in found)


def _of_camera(camera: CameraSettings) -> Iterator[str]:
    template = camera.source.template.lower()
    if template.startswith(("v4l2://", "csi://")) or "v4l2src" in template:
        yield "v4l2"
    if "nv" in template and launch_line.pipeline_of(template) is not None:
        yield "nvidia"
    yield from _OF_ENGINES.get(camera.engine, ())
    yield from _OF_DECODERS.get(camera.decode, ())


def compilers_of(settings: PipelineSettings) -> str | None:
    """Which engine that the file may use writes code at run time, in words; None where none does."""
    engines = {camera.engine for camera in settings.cameras}
    if named := [name for name in _COMPILERS if name in engines]:
        return f"engine {named[0]} writes"
    if AUTO in engines and any(ENGINES[name].installed for name in _COMPILERS):
        return "OpenVINO, which is installed and which engine auto may choose, writes"
    return None


def variables_of(settings: PipelineSettings) -> tuple[str, ...]:
    """The environment variables of the cameras' addresses, in the order of the file."""
    templates = (camera.source.template for camera in settings.cameras)
    return tuple(dict.fromkeys(name for template in templates for name in VARIABLE.findall(template)))


def credential_of(settings: PipelineSettings) -> str | None:
    """The broker's password file, where it can come as a credential; a path is read as it is."""
    name = settings.mqtt.password_file if settings.mqtt is not None else None
    return name if name is not None and "/" not in name else None


def files(
    settings: PipelineSettings, name: str, text: str, *, user: str | None, devices: tuple[str, ...]
) -> tuple[File, ...]:
    """Everything that ``edgeseg@NAME`` needs. text: of the pipeline file. user: instead of a dynamic one."""
    folder = paths.folder("systemd")
    unit = (folder / "edgeseg@.service").read_text(encoding="utf-8")
    found = [
        File(UNITS / "edgeseg@.service", unit.replace(_PROGRAM, _in_a_unit(program()))),
        File(UNITS / f"edgeseg@{name}.service.d" / "pipeline.conf", _drop_in(settings, name, user, devices)),
        File(Path("/etc/tmpfiles.d/edgeseg.conf"), (folder / "edgeseg.tmpfiles").read_text(encoding="utf-8")),
        File(PIPELINES / f"{name}.yaml", text),
    ]
    if devices:
        rules = (folder / "70-edgeseg.rules").read_text(encoding="utf-8")
        found.append(File(Path("/etc/udev/rules.d/70-edgeseg.rules"), rules))
    if variables := variables_of(settings):
        lines = "".join(f"#{variable}=\n" for variable in variables)
        head = f"# Passwords for {PIPELINES / name}.yaml; systemd reads them as root.\n"
        found.append(File(PIPELINES / f"{name}.env", head + lines, 0o600, kept=True))
    return tuple(found)


def program() -> tuple[str, ...]:
    """The command, in words, that starts the ``edgeseg`` that is running."""
    script = Path(sys.prefix) / "bin" / "edgeseg"
    return (str(script),) if script.exists() else (sys.executable, "-m", "edgeseg")


def _in_a_unit(words: tuple[str, ...]) -> str:
    """Words of a command as ``ExecStart=`` takes them (systemd.service(5), "Command lines")."""
    return " ".join(word if _PLAIN.fullmatch(word) else f'"{_escaped(word)}"' for word in words)


def _escaped(word: str) -> str:
    for special, instead in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(special, instead)
    return word


def _drop_in(settings: PipelineSettings, name: str, user: str | None, devices: tuple[str, ...]) -> str:
    lines = [
        f"# Written by `edgeseg install-service` for {PIPELINES / name}.yaml; run it again after changes.",
        "",
        "[Service]",
    ]
    if credential := credential_of(settings):
        lines.append(f"LoadCredential={credential}:{PIPELINES / credential}")
    if user is not None:
        lines += ["DynamicUser=no", f"User={user}"]
    if devices:
        lines += _OPEN
    for device in devices:
        lines += [f"# {DEVICES[device].title}", *DEVICES[device].lines]
    if compiler := compilers_of(settings):
        lines += [f"# {compiler} its kernels while it runs.", *_JIT]
    return "\n".join(dict.fromkeys(lines)) + "\n"

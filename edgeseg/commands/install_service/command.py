"""``edgeseg install-service``: installs a pipeline file as a systemd service."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.errors import EdgesegError

if TYPE_CHECKING:
    from edgeseg.commands.install_service.files import File
    from edgeseg.settings import PipelineSettings

_DEVICES = ("v4l2", "coral", "render", "nvidia")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
_CREDENTIAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
# ProtectHome= hides them from the service, for every user.
_HIDDEN = ("/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/")

_DESCRIPTION = """\
Installs a pipeline file as the service edgeseg@NAME: the file itself into /etc/edgeseg, the hardened unit,
what this file needs beside it (the broker's password as a credential, devices, a file for the cameras'
passwords), rules for udev where a device is used, and the folders that root keeps. Doing it again changes
only what changed. Starts nothing; says what comes next.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``install-service`` to the command line."""
    parser = subparsers.add_parser(
        "install-service",
        help="install a pipeline file as a systemd service, or print what that takes",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pipeline", type=Path, metavar="PIPELINE", help="the pipeline file")
    parser.add_argument("--print", action="store_true", help="print the files instead of writing them")
    parser.add_argument("--name", help="the instance: edgeseg@NAME (default: the file's name)")
    parser.add_argument("--user", help="run as this user instead of one that systemd makes up")
    parser.add_argument(
        "--device",
        action="append",
        default=[],
        choices=_DEVICES,
        help="also open these devices, beside those that the file names; may be repeated",
    )
    parser.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR", help="write below DIR: for images and tests"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write or print. Returns the exit code."""
    from edgeseg import config
    from edgeseg.commands.install_service import files as service_files
    from edgeseg.models import registry

    settings = config.load(args.pipeline)
    name = _name(args)
    if args.user is not None and not _USER.fullmatch(args.user):
        raise EdgesegError(f"--user: got {args.user!r}, expected a user's name")
    _check_paths(settings)
    credential = service_files.credential_of(settings)
    if credential is not None and not _CREDENTIAL.fullmatch(credential):
        raise EdgesegError(
            f"{settings.file}: mqtt.password_file: {credential!r} cannot be a credential's name "
            "(letters, digits, ., _ and -); call the file mqtt_password"
        )
    devices = tuple(
        device for device in _DEVICES if device in (*service_files.devices_of(settings), *args.device)
    )
    text = args.pipeline.read_text(encoding="utf-8")
    files = service_files.files(settings, name, text, user=args.user, devices=devices)
    if args.print:
        for file in files:
            print(f"# {file.path}\n{file.text}")
        return 0
    if args.root == Path("/"):
        if os.geteuid() != 0:
            raise EdgesegError("install-service writes into /etc: run it as root (sudo), or with --print")
        _check_program(service_files.program()[0])
    _check_not_another(args, files)
    for file in files:
        print(f"{_write(args.root, file)} {file.path}")
    for warning in config.lint_warnings(settings, registry.find):
        print(f"note: {warning}")
    if compiler := service_files.compilers_of(settings):
        print(
            f"note: the service may make memory executable (MemoryDenyWriteExecute=no): {compiler} its "
            "kernels while it runs; `engine: onnxruntime` does without"
        )
    sys.stdout.writelines(f"{line}\n" for line in _next_steps(args.root, settings, name, devices))
    return 0


def _name(args: argparse.Namespace) -> str:
    name: str = args.name or args.pipeline.stem
    if not _NAME.fullmatch(name):
        raise EdgesegError(
            f"{name!r} cannot be a service's name (letters, digits, _ and -); give one with --name"
        )
    return name


def _check_paths(settings: PipelineSettings) -> None:
    for camera in settings.cameras:
        template = camera.source.template
        if ":" not in template.partition("/")[0] and not template.startswith("/"):
            raise EdgesegError(
                f"{settings.file}: cameras.{camera.name}.source: {camera.source.shown} is a relative path, "
                "which another folder makes another file; write it from / on"
            )


def _check_program(program: str) -> None:
    if program.startswith(_HIDDEN) or not program.isprintable():
        raise EdgesegError(
            f"{program}: no service can run edgeseg from there; install it below /opt, as in "
            "python3 -m venv /opt/edgeseg && /opt/edgeseg/bin/pip install edgeseg"
        )


def _check_not_another(args: argparse.Namespace, files: tuple[File, ...]) -> None:
    """A pipeline file of that name that a person edited is not overwritten."""
    for file in files:
        place = _below(args.root, file.path)
        if file.path.suffix != ".yaml" or not place.exists() or place.samefile(args.pipeline):
            continue
        if place.read_text(encoding="utf-8") != file.text:
            raise EdgesegError(
                f"{place}: is another file already; edit that one and name it here, or choose another --name"
            )


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _write(root: Path, file: File) -> str:
    """Returns what happened to it."""
    from edgeseg.system.atomic_files import atomic_write

    place = _below(root, file.path)
    there = place.read_text(encoding="utf-8") if place.exists() else None
    if there is not None and (file.kept or there == file.text):
        return "unchanged"
    with atomic_write(place, "look at --root, or try --print") as partial:
        partial.touch(mode=file.mode)
        partial.write_text(file.text, encoding="utf-8")
        partial.chmod(file.mode)
    return "wrote" if there is None else "replaced"


def _next_steps(root: Path, settings: PipelineSettings, name: str, devices: tuple[str, ...]) -> Iterator[str]:
    from edgeseg.commands.install_service import files as service_files

    yield ""
    yield "next:"
    environment = service_files.PIPELINES / f"{name}.env"
    credential = service_files.credential_of(settings)
    if variables := service_files.variables_of(settings):
        yield f"  fill in {', '.join(variables)} in {environment}"
    if credential and not _below(root, service_files.PIPELINES / credential).exists():
        place = service_files.PIPELINES / credential
        yield f"  install -m 0600 /dev/stdin {place}    # type the broker's password, Enter, Ctrl-D"
    if devices:
        yield "  udevadm control --reload && udevadm trigger"
    yield "  systemd-tmpfiles --create edgeseg.conf && systemctl daemon-reload"
    for model in _to_pull(root, settings):
        yield f"  EDGESEG_CACHE=/var/cache/edgeseg {shlex.join(service_files.program())} models pull {model}"
    yield f"  systemctl enable --now edgeseg@{name}"


def _to_pull(root: Path, settings: PipelineSettings) -> list[str]:
    """Models without weights, neither beside their manifest nor in the services' cache."""
    from edgeseg.models import registry

    cache = _below(root, Path("/var/cache/edgeseg/models"))
    found = []
    for name in dict.fromkeys(camera.model for camera in settings.cameras):
        model = registry.find(name)
        complete = (
            all(
                (model.folder / blob.file).exists() or (cache / model.name / blob.file).exists()
                for blob in one.blobs
            )
            for one in model.artefacts
        )
        if not any(complete):
            found.append(model.name)
    return found

"""Host checks: disk, clock and service manager."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from edgeseg.clock import is_synchronised
from edgeseg.settings import WebSettings
from edgeseg.system import paths
from edgeseg.tools.doctor.finding import Finding

# Alerts wait in a few megabytes; a disk that is nearly full gets there by other programs.
_LEAST_FREE_MB, _LITTLE_FREE_MB = 50, 500
_SYSTEMD = Path("/run/systemd/system")
_ANSWER_S = 5.0


def disk(stop: threading.Event) -> Iterator[Finding]:
    """Where what survives a restart goes, and what can be fetched again."""
    yield _folder(
        "state", paths.state_dir(), "alerts that wait for the broker would be lost with the process"
    )
    yield _folder("cache", paths.cache_dir(), "networks could not be fetched, nor engines remembered")


def _folder(subject: str, folder: Path, otherwise: str) -> Finding:
    there = next(place for place in (folder, *folder.parents) if place.is_dir())
    try:
        # What counts is that it works: permissions do not tell of a disk that is read-only or broken.
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"edgeseg")
    except OSError as error:
        mend = f"sudo chown -R $USER {there}" if isinstance(error, PermissionError) else f"df -h {there}"
        return Finding(
            subject, "problem", f"{folder} cannot be written ({error.strerror}): {otherwise}", mend
        )
    free_mb = shutil.disk_usage(there).free / 1e6
    text = f"{folder}, {free_mb / 1000:.1f} GB free"
    if free_mb < _LEAST_FREE_MB:
        return Finding(
            subject, "problem", f"{text}: {otherwise}", f"make room; du -xh {there} | sort -h | tail"
        )
    return Finding(subject, "note" if free_mb < _LITTLE_FREE_MB else "ok", text)


def time(stop: threading.Event) -> Iterator[Finding]:
    """Whether the times that edgeseg reports are right."""
    synchronised = is_synchronised()
    if synchronised:
        yield Finding("time", "ok", "synchronised")
    elif synchronised is None:
        yield Finding("time", "skipped", "the kernel does not tell whether it is synchronised")
    else:
        text = "not synchronised: times of events may be wrong, and rules with hours fire at other times"
        yield Finding("time", "problem", text, "sudo timedatectl set-ntp true")


def service(
    stop: threading.Event, pipeline: Path | None = None, systemd: Path = _SYSTEMD
) -> Iterator[Finding]:
    """Whether systemd keeps edgeseg running: the instance of this file, or any. systemd: the folder that is
    there where it runs (sd_booted(3))."""
    name = f"edgeseg@{pipeline.stem}" if pipeline else "edgeseg@*"
    systemctl = shutil.which("systemctl")
    if systemctl is None or not systemd.is_dir():
        yield Finding("service", "skipped", "no systemd runs here")
        return
    asked = "--property=Id,LoadState,ActiveState,SubState,UnitFileState"
    answer = subprocess.run(
        [systemctl, "show", f"{name}.service", asked],
        capture_output=True,
        text=True,
        timeout=_ANSWER_S,
        check=False,
    )
    units = [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in answer.stdout.split("\n\n")
    ]
    known = [
        unit
        for unit in units
        if unit.get("LoadState") == "loaded" and unit.get("Id", "").startswith("edgeseg@")
    ]
    if not known:
        file = pipeline or "PIPELINE.yaml"
        yield Finding("service", "note", "not installed: edgeseg runs for as long as you run it",
                      f"sudo edgeseg install-service {file}")  # fmt: skip
    for unit in known:
        yield _unit(unit)


def web(stop: threading.Event, settings: WebSettings) -> Iterator[Finding]:
    """Whether the dashboard is there, or its port is free for it."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    where = f"{f'[{host}]' if ':' in host else host}:{settings.port}"
    try:
        line = socket.create_connection((host, settings.port), _ANSWER_S)
    except OSError:
        yield Finding("dashboard", "ok", f"{where} is free; `edgeseg run` serves it there")
        return
    with line:
        line.settimeout(_ANSWER_S)
        try:
            line.sendall(f"GET /healthz HTTP/1.1\r\nHost: {where}\r\nConnection: close\r\n\r\n".encode())
            answer = line.recv(64)
        except OSError:
            answer = b""
    if answer.startswith(b"HTTP/1.1 200"):
        yield Finding("dashboard", "ok", f"runs: http://{where}/")
    else:
        text = f"another program has {where}, and edgeseg cannot listen there"
        yield Finding(
            "dashboard", "problem", text, f"sudo ss -tlnp 'sport = :{settings.port}'; or change web.listen"
        )


def _unit(unit: dict[str, str]) -> Finding:
    name = unit["Id"].removesuffix(".service")
    state, enabled = unit.get("ActiveState", "?"), unit.get("UnitFileState") == "enabled"
    if state == "failed":
        return Finding(name, "problem", "failed", f"journalctl -u {name} -n 50")
    if state not in ("active", "activating", "reloading"):
        command = "start" if enabled else "enable --now"
        return Finding(name, "problem", f"installed and {state}", f"sudo systemctl {command} {name}")
    if not enabled:
        return Finding(
            name, "note", "runs, but not after a restart of the machine", f"sudo systemctl enable {name}"
        )
    return Finding(name, "ok", f"runs ({unit.get('SubState', state)}), and will after a restart")

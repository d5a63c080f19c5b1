"""Bench machine: describes the machine and the versions of its libraries."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2

from edgeseg import __version__
from edgeseg.clock import SystemClock, iso_utc
from edgeseg.system.cpu_quota import whole_cpus

_LIBRARIES = ("numpy", "av", "opencv-python-headless", "onnxruntime", "openvino", "ai-edge-litert")
_TELLING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm")


def describe() -> dict[str, Any]:
    """CPU model, cores, memory, system, versions, and how busy the machine is with other things."""
    fields, flags = _cpu()
    return {
        "when": iso_utc(SystemClock().utc_s()),
        "cpu": fields.get("model name") or fields.get("Model") or platform.processor() or platform.machine(),
        "cpu_features": [flag for flag in _TELLING_FLAGS if flag in flags],
        "cores": whole_cpus(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "load_before": [round(value, 2) for value in os.getloadavg()],
        "system": _system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "edgeseg": __version__,
        "opencv": cv2.__version__,
        "libraries": {name: version for name in _LIBRARIES if (version := _version(name)) is not None},
    }


def _cpu() -> tuple[dict[str, str], frozenset[str]]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}, frozenset()
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    return fields, frozenset((fields.get("flags") or fields.get("Features") or "").split())


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None

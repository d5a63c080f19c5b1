"""Machine checks: memory, what can compute and decode, and the libraries for that."""

from __future__ import annotations

import ctypes.util
import importlib.metadata
import os
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from edgeseg.capture.sandbox.confine import gaps
from edgeseg.engines import hardware
from edgeseg.models.runtimes import ENGINES
from edgeseg.sources.hardware import HARDWARE, try_device
from edgeseg.system.cpu_quota import available_cpus
from edgeseg.tools.doctor.finding import Finding

# What one camera with a small network takes, and a system beside it.
_LEAST_MEMORY_MB = 300
# Where Raspberry Pis begin to slow down.
_HOT_C = 80.0
_LIBRARIES = ("numpy", "av", "opencv-python-headless", "paho-mqtt", "pydantic", "aiohttp")
_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"


def device(stop: threading.Event, root: Path = Path("/")) -> Iterator[Finding]:
    """Board, processor, memory, temperature."""
    text = _read(root / "proc/cpuinfo")
    named = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    board = _read(root / "proc/device-tree/model").strip("\0 \n")
    board = board or _read(root / "sys/class/dmi/id/product_name").strip()
    cores = len(os.sched_getaffinity(0))
    processor = named.group(1).strip() if named else os.uname().machine
    what = f"{processor}, {os.uname().machine}, {cores} core{'' if cores == 1 else 's'}"
    available = available_cpus(root)
    if available < cores:
        what += f" of which a CPU quota gives {available:g}"
    yield Finding("board", "ok", f"{board}; {what}" if board else what)
    yield from _memory(_read(root / "proc/meminfo"))
    hot = [
        int(text) / 1000
        for text in map(_read, root.glob("sys/class/thermal/thermal_zone*/temp"))
        if text.strip()
    ]
    if hot and max(hot) >= _HOT_C:
        yield Finding(
            "heat",
            "problem",
            f"{max(hot):.0f} degrees: the processor slows down",
            "give it a heat sink or a fan",
        )
    throttled = _read(root / _THROTTLED).strip()
    if throttled and int(throttled, 16) & 0x1:
        yield Finding(
            "power", "problem", "the supply's voltage is too low", "use the power supply made for this board"
        )
    if missing := gaps():
        yield Finding("confinement", "note", f"camera processes are confined only in part: {missing}")


def _memory(text: str) -> Iterator[Finding]:
    sizes = {name: int(kb) / 1024 for name, kb in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}
    if "MemTotal" not in sizes:
        yield Finding("memory", "skipped", "the kernel does not tell its memory")
        return
    total_mb, free_mb = sizes["MemTotal"], sizes.get("MemAvailable", 0.0)
    text = f"{total_mb / 1024:.1f} GB, {free_mb / 1024:.1f} GB of it available"
    if free_mb < _LEAST_MEMORY_MB:
        yield Finding(
            "memory", "problem", text, "stop other programs; `ps aux --sort=-rss | head` shows the largest"
        )
    else:
        yield Finding("memory", "ok", text)


def accelerators(
    stop: threading.Event, engines: Iterable[str] = (), root: Path = Path("/")
) -> Iterator[Finding]:
    """What could compute beside the CPU, and cameras at this machine. engines: that a pipeline file names."""
    found = False
    for name in hardware.edge_tpus(root):
        found = True
        yield _edge_tpu(name, root)
    for name in hardware.nvidia_gpus(root):
        found = True
        yield Finding("NVIDIA", "ok", name)
    for name in hardware.render_nodes(root):
        found = True
        yield _node(root / "dev/dri" / name, "a GPU", "render")
    for path in sorted(root.glob("dev/video*")):
        found = True
        title = _read(root / "sys/class/video4linux" / path.name / "name").strip()
        yield _node(path, title or "a video device", "video")
    for engine in sorted(set(engines)):
        if absent := (hardware.absence(engine) if engine in ENGINES else None):
            yield Finding(
                engine,
                "problem",
                f"the file has engine: {engine}, but there is {absent}",
                "plug it in, or write engine: auto",
            )
    if not found:
        yield Finding("accelerators", "ok", "none here: the CPU does it all")


def _edge_tpu(name: str, root: Path) -> Finding:
    if ctypes.util.find_library("edgetpu") is None:
        return Finding(
            "Edge TPU",
            "problem",
            f"{name}, but its library is missing",
            "sudo apt-get install libedgetpu1-std",
        )
    node = root / "dev" / name.rpartition(" ")[2]
    if node.exists() and not os.access(node, os.R_OK | os.W_OK):
        return _node(node, name, "apex")
    return Finding("Edge TPU", "ok", name)


def _node(path: Path, what: str, group: str) -> Finding:
    if os.access(path, os.R_OK | os.W_OK):
        return Finding(path.name, "ok", f"{what}, {path}")
    return Finding(
        path.name, "note", f"{what}, {path}: this user may not use it",
        f"sudo usermod -aG {group} $USER, then log in again",
    )  # fmt: skip


def runtimes(stop: threading.Event) -> Iterator[Finding]:
    """What runs networks, and the libraries that edgeseg stands on."""
    versions: dict[str, list[str]] = {}
    for name, spec in ENGINES.items():
        if spec.version is not None:
            versions.setdefault(spec.version, []).append(name)
    for version, names in versions.items():
        yield Finding(
            version.partition(" ")[0], "ok", f"{version.partition(' ')[2]}, for engine: {', '.join(names)}"
        )
    if not versions:
        yield Finding("runtimes", "problem", "nothing here runs networks", ENGINES["onnxruntime"].install)
    yield Finding("libraries", "ok", ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES))


def decoding(stop: threading.Event, wanted: Iterable[str] = (), root: Path = Path("/")) -> Iterator[Finding]:
    """The decoders. wanted: those that a pipeline file names; the others are only tried where their device
    is, for drivers may crash."""
    yield Finding("software", "ok", "decodes everything, on the CPU")
    here = {
        "cuda": bool(hardware.nvidia_gpus(root)),
        "vaapi": bool(hardware.render_nodes(root)),
        "drm": bool(hardware.render_nodes(root)),
        "v4l2m2m": any(root.glob("dev/video*")),
    }
    for name in HARDWARE:
        if not here.get(name) and name not in wanted:
            continue
        if (flaw := try_device(name)) is None:
            yield Finding(name, "ok", f"decodes H.264 on the device: decode: {name}")
        elif name in wanted:
            yield Finding(name, "problem", f"the file has decode: {name}, but {flaw}; software decodes",
                          "write decode: auto, or leave it out")  # fmt: skip
        else:
            yield Finding(name, "note", f"{flaw}; software decodes")


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""

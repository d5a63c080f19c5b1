"""Compute hardware: what the kernel reports, without any inference library."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import re
from pathlib import Path

from edgeseg.system.cpu_quota import whole_cpus

# Edge TPU sticks before and after their firmware was loaded (Coral's udev rules).
_EDGE_TPU_USB = (("1a6e", "089a"), ("18d1", "9302"))


def absence(engine: str) -> str | None:
    """Which device ``engine`` would need and is not there, in words; None where none is missing."""
    if engine in ("cuda", "tensorrt") and not nvidia_gpus():
        return "no NVIDIA GPU here"
    if engine == "openvino-gpu" and not render_nodes():
        return "no Intel GPU here: /dev/dri has no render node"
    if engine == "coral" and not edge_tpus():
        return "no Edge TPU on USB or PCIe"
    return None


def cpu() -> str:
    """The processor: its name, a short digest of what it can do, and how many cores we may use."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        text = ""
    named = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    abilities = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    name = named.group(1) if named else platform.processor() or "CPU"
    # Hosts of virtual machines hide the model, and a machine that moved may lose instructions.
    digest = hashlib.sha256(abilities.group(1).encode()).hexdigest()[:8] if abilities else "-"
    return f"{name} {platform.machine()} {digest}, {whole_cpus()} cores"


def nvidia_gpus(root: Path = Path("/")) -> tuple[str, ...]:
    """Their names as the kernel's driver tells them; a Jetson's is that of the board."""
    found = []
    for path in sorted(root.glob("proc/driver/nvidia/gpus/*/information")):
        model = re.search(r"^Model:\s*(.+)$", path.read_text(errors="replace"), re.MULTILINE)
        found.append(model.group(1).strip() if model else "NVIDIA GPU")
    if found:
        return tuple(found)
    board = root / "proc/device-tree/model"
    if any((root / "dev" / name).exists() for name in ("nvhost-gpu", "nvgpu")) and board.is_file():
        return (board.read_text(errors="replace").strip("\0 \n"),)
    return ("NVIDIA GPU",) if (root / "dev/nvidia0").exists() else ()


def edge_tpus(root: Path = Path("/")) -> tuple[str, ...]:
    """PCIe and M.2 modules have the driver apex, USB sticks two identities."""
    found = [f"Edge TPU {path.name}" for path in sorted(root.glob("dev/apex_*"))]
    for path in sorted(root.glob("sys/bus/usb/devices/*/idVendor")):
        with contextlib.suppress(OSError):
            identity = path.read_text().strip(), (path.parent / "idProduct").read_text().strip()
            found += ["Edge TPU on USB"] if identity in _EDGE_TPU_USB else []
    return tuple(found)


def render_nodes(root: Path = Path("/")) -> tuple[str, ...]:
    """GPUs that compute through the kernel's direct rendering manager, by device name."""
    return tuple(path.name for path in sorted(root.glob("dev/dri/renderD*")))

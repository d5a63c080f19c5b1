"""Engines: which file formats each reads, which packages it needs, and how to install them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeseg.models.model import Format


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What one engine needs.

    Args:
        module: ``edgeseg/engines/<module>.py`` drives it.
        formats: of the files that it reads.
        packages: importable names; any one will do, the first is the best.
        distributions: names under which these are installed.
        install: the command that installs it.
        accelerator: it computes on a device of its own and leaves the CPU to others.
        builds: several distributions have the same package; it has to be one of ``distributions``.
    """

    module: str
    formats: tuple[Format, ...]
    packages: tuple[str, ...]
    distributions: tuple[str, ...]
    install: str
    accelerator: bool = False
    builds: bool = False

    @property
    def installed(self) -> bool:
        """Whether it can be imported here."""
        if self.builds:
            return self.version is not None
        return any(importlib.util.find_spec(package) is not None for package in self.packages)

    @property
    def version(self) -> str | None:
        """What is installed, such as ``onnxruntime 1.32.0``; None where nothing is."""
        for distribution in self.distributions:
            try:
                return f"{distribution} {metadata.version(distribution)}"
            except metadata.PackageNotFoundError:
                continue
        if self.builds or not self.installed:
            return None
        return f"{self.packages[0]} of unknown version"


def _onnx_build(name: str, accelerator: bool) -> EngineSpec:
    """Return a build of onnxruntime: one package of several distributions, of which one may be installed."""
    install = f"pip uninstall -y onnxruntime && pip install {name}"
    return EngineSpec("onnxruntime", ("onnx",), ("onnxruntime",), (name,), install, accelerator, builds=True)


def _open_vino(accelerator: bool = False) -> EngineSpec:
    install = "pip install 'edgeseg[openvino]'"
    return EngineSpec(
        "openvino", ("onnx", "tflite", "openvino"), ("openvino",), ("openvino",), install, accelerator
    )


def _lite_rt(accelerator: bool = False) -> EngineSpec:
    packages, names = ("ai_edge_litert", "tflite_runtime"), ("ai-edge-litert", "tflite-runtime")
    return EngineSpec("litert", ("tflite",), packages, names, "pip install 'edgeseg[litert]'", accelerator)


AUTO = "auto"
# Inference servers that a pipeline file names; `auto` never chooses it. Any format may run there.
REMOTE = "kserve"
# Ending of the name of a served model that takes JPEG in place of pixels.
JPEG_SUFFIX = "-jpeg"
# In the order in which they are taken where nothing was measured.
ENGINES: dict[str, EngineSpec] = {
    "onnxruntime": EngineSpec(
        "onnxruntime",
        ("onnx",),
        ("onnxruntime",),
        ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"),
        "pip install onnxruntime",
    ),
    "litert": _lite_rt(),
    "openvino": _open_vino(),
    # The network's floats in 16 bits: bf16 on x86, f16 on ARM.
    "openvino-half": _open_vino(),
    "openvino-gpu": _open_vino(accelerator=True),
    "onnxruntime-openvino": _onnx_build("onnxruntime-openvino", accelerator=False),
    "cuda": _onnx_build("onnxruntime-gpu", accelerator=True),
    "tensorrt": _onnx_build("onnxruntime-gpu", accelerator=True),
    "coral": _lite_rt(accelerator=True),
}
ENGINE_NAMES: tuple[str, ...] = (AUTO, *ENGINES)


def formats(engine: str) -> tuple[Format, ...]:
    """Return the formats that an engine reads; ``auto`` and REMOTE read those of all engines together."""
    chosen = ENGINES.values() if engine in (AUTO, REMOTE) else (ENGINES[engine],)
    return tuple(dict.fromkeys(form for spec in chosen for form in spec.formats))

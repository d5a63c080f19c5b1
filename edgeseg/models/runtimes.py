"""The engines there are: what each reads, what it needs installed, and how to install that."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeseg.models.model import Format


@dataclass(frozen=True, slots=True)
class Runtime:
    """One engine; ``edgeseg/engines/<module>.py`` drives it.

    formats: of the files it reads. packages: importable names, any one will do, the first is the best.
    distributions: names under which these are installed. install: the command that gets it.
    accelerator: it works on a device of its own and leaves the CPU to others.
    builds: the package alone does not tell; it has to be of one of the distributions.
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
        if self.builds:
            return self.version is not None
        return any(importlib.util.find_spec(package) is not None for package in self.packages)

    @property
    def version(self) -> str | None:
        """What is installed, e.g. ``onnxruntime 1.32.0``; None where nothing is."""
        for distribution in self.distributions:
            try:
                return f"{distribution} {metadata.version(distribution)}"
            except metadata.PackageNotFoundError:
                continue
        if self.builds or not self.installed:
            return None
        return f"{self.packages[0]} of unknown version"


def _onnx_build(name: str, accelerator: bool) -> Runtime:
    """onnxruntime is one module under several names, of which only one may be installed."""
    install = f"pip uninstall -y onnxruntime && pip install {name}"
    return Runtime("onnxruntime", ("onnx",), ("onnxruntime",), (name,), install, accelerator, builds=True)


def _open_vino(accelerator: bool = False) -> Runtime:
    install = "pip install 'edgeseg[openvino]'"
    return Runtime(
        "openvino", ("onnx", "tflite", "openvino"), ("openvino",), ("openvino",), install, accelerator
    )


def _lite_rt(accelerator: bool = False) -> Runtime:
    packages, names = ("ai_edge_litert", "tflite_runtime"), ("ai-edge-litert", "tflite-runtime")
    return Runtime("litert", ("tflite",), packages, names, "pip install 'edgeseg[litert]'", accelerator)


AUTO = "auto"
# Servers elsewhere, which a pipeline file names; `auto` never chooses it. Any format may run there.
REMOTE = "kserve"
# What a served model is called that takes JPEG in place of pixels.
JPEG_SUFFIX = "-jpeg"
# In the order in which they are taken where nothing was measured.
RUNTIMES: dict[str, Runtime] = {
    "onnxruntime": Runtime(
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
ENGINES: tuple[str, ...] = (AUTO, *RUNTIMES)


def formats(engine: str) -> tuple[Format, ...]:
    """What an engine reads; ``auto`` and REMOTE read what any of ENGINES does."""
    chosen = RUNTIMES.values() if engine in (AUTO, REMOTE) else (RUNTIMES[engine],)
    return tuple(dict.fromkeys(form for runtime in chosen for form in runtime.formats))

"""The engines there are: what each reads, what it needs installed, and how to install that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeseg.manifest import Format


@dataclass(frozen=True, slots=True)
class Runtime:
    """One engine; ``edgeseg/engines/<name>.py`` drives it.

    packages: any one of them will do, the first is the best. install: the command that gets it.
    """

    format: Format
    packages: tuple[str, ...]
    install: str


AUTO = "auto"
RUNTIMES: dict[str, Runtime] = {
    "onnxruntime": Runtime("onnx", ("onnxruntime",), "pip install onnxruntime"),
    "litert": Runtime("tflite", ("ai_edge_litert", "tflite_runtime"), "pip install 'edgeseg[litert]'"),
}
ENGINES: tuple[str, ...] = (AUTO, *RUNTIMES)


def formats(engine: str) -> tuple[Format, ...]:
    """What an engine of ENGINES reads; ``auto`` reads what any of them does."""
    chosen = RUNTIMES.values() if engine == AUTO else (RUNTIMES[engine],)
    return tuple(runtime.format for runtime in chosen)

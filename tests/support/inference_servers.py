"""Servers of the KServe v2 protocol as processes of their own: ours, NVIDIA's Triton and MLServer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import ROOT
from tests.support.broker import accepts, free_port, wait_until
from tests.support.passwords import note

# Triton loads its backend, MLServer its whole web stack.
_STARTS_WITHIN_S = 180.0
_STOPS_WITHIN_S = 60.0
# Interpreters of environments that have them (`make test-remote` makes both).
TRITON, MLSERVER = os.environ.get("EDGESEG_TRITON"), os.environ.get("EDGESEG_MLSERVER")
KINDS = ("edgeseg", *(["triton"] if TRITON else []), *(["mlserver"] if MLSERVER else []))


class InferenceServer:
    """A server that answers on its port once the ``with`` was entered. Its output is kept.

    kind: one of KINDS. arguments: of `edgeseg serve`, beside the model.
    """

    def __init__(self, kind: str, model: Path, *arguments: str, size: tuple[int, int] = (64, 48)) -> None:
        self.port = free_port()
        self._kind = kind
        self._model = model.absolute()
        self._arguments = arguments
        self._size = size
        self._folder = Path(tempfile.mkdtemp(prefix="inference-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"grpc://127.0.0.1:{self.port}"

    @property
    def _python_path(self) -> str:
        return str(self._folder) if self._kind == "mlserver" else os.environ.get("PYTHONPATH", "")

    @property
    def log(self) -> str:
        path = self._folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": self._python_path},
                start_new_session=True,
            )

        def up() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, f"ended: {self.log}"
            return accepts(self.port) and (self._kind != "triton" or "\nready" in self.log)

        wait_until(up, f"{self._kind} on port {self.port}", deadline_s=_STARTS_WITHIN_S)

    def kill(self) -> None:
        """At once, with all its processes, as a machine that loses power."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_STOPS_WITHIN_S)
        self._process = None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def __enter__(self) -> InferenceServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()
        print(self.log)
        note(self.log)

    def _command(self) -> list[str]:
        listen = f"127.0.0.1:{self.port}"
        if self._kind == "edgeseg":
            width, height = self._size
            own = [f"{self._model}@{width}x{height}", "--listen", listen, *self._arguments]
            return [sys.executable, "-m", "edgeseg", "serve", *own, "--engine", "onnxruntime"]
        # int8 sorts after float, and is what the local engine takes.
        weights = max(self._model.glob("*.onnx"))
        width, height = self._size
        if self._kind == "triton":
            program = str(ROOT / "tests" / "triton_server.py")
            described = [self._model.name, str(weights), str(width), str(height)]
            return [str(TRITON), program, str(self.port), str(free_port()), *described]
        self._describe(weights)
        return [str(Path(str(MLSERVER)).with_name("mlserver")), "start", str(self._folder)]

    def _describe(self, weights: Path) -> None:
        width, height = self._size
        grid = {"datatype": "UINT8", "shape": [1, -1, -1]}
        settings = {
            "name": self._model.name,
            "implementation": "mlserver_runtime.Network",
            "inputs": [{"name": "pictures", "datatype": "UINT8", "shape": [1, height, width, 3]}],
            "outputs": [{"name": "labels", **grid}, {"name": "confidence", **grid}],
            "parameters": {"uri": str(weights)},
        }
        server = {
            "host": "127.0.0.1",
            "http_port": free_port(),
            "grpc_port": self.port,
            "metrics_port": free_port(),
            "parallel_workers": 0,
        }
        source = (ROOT / "tests" / "mlserver_runtime.py").read_text()
        (self._folder / "mlserver_runtime.py").write_text(source)
        (self._folder / "model-settings.json").write_text(json.dumps(settings))
        (self._folder / "settings.json").write_text(json.dumps(server))

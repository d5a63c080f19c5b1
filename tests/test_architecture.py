"""Imports run one way: a stage never imports a sibling stage, a heavy library lives in one place."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgeseg
from edgeseg.runtimes import RUNTIMES

PACKAGE = Path(edgeseg.__file__).parent
TESTS = Path(__file__).parent
# The rooms from the ground up: a module may import from floors below its own, never from its own floor
# (inside a room, its files may know each other).
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "clock", "cpu_quota", "thread_cpu", "frames", "shipped", "laps"),
    ("settings", "yamlfile", "secrets", "polygons", "places", "appearing", "launch", "state"),
    ("manifest", "fetch", "cellcounts", "ground", "registration", "logs"),
    ("registry", "runtimes", "groundmeter"),
    # the stages, strangers to each other
    (
        "sources",
        "preprocess",
        "engines",
        "postprocess",
        "steady",
        "light",
        "zones",
        "certainty",
        "rules",
        "publish",
        "config",
    ),
    (
        "announcing",
        "pipeline",
        "overlay",
        "video",
        "scheduler",
        "sdnotify",
        "trial",
        "remote",
        "refine",
        "recall",
        "onlooker",
        "recording",
        "engine_monitor",
    ),
    ("audience",),
    ("camera", "load", "engine_pool", "watchdog", "evidence", "second_stream"),
    ("clip", "live", "quality", "budget", "checkup", "expectation"),
    ("relief",),
    ("supervisor", "gating"),
    ("web",),
    ("daemon", "serve"),
    # what makes and judges networks: commands that need it import it when they run, nothing else does
    ("zoo",),
    # what commands alone use: nothing of it is in the daemon
    ("bench", "tuning", "fleet", "archive"),
    # drives the daemon from outside, tests pipeline files
    ("soak", "testing"),
    ("commands", "pytest_plugin"),
    ("cli",),
    ("__main__",),
)
# Each heavy library and the only files that may import it. av decodes in one place and encodes in another.
HOMES = {
    "av": {
        "sources/decode.py",
        "sources/cuts.py",
        "sources/hardware.py",
        "sources/packets.py",
        "video.py",
        "bench/clips.py",
        "bench/faulty.py",
    },
    # The other ways of working that bench compares with use runtimes as others do.
    "onnxruntime": {"engines/onnxruntime.py", "bench/naive.py"},
    "openvino": {"engines/openvino.py", "bench/naive.py"},
    "ai_edge_litert": {"engines/litert.py"},
    "tflite_runtime": {"engines/litert.py"},
    # The soak listens as any other subscriber does.
    "tritonclient": {"engines/kserve.py", "engines/kserve_memory.py", "serve/protocol.py"},
    "grpc": {"engines/kserve.py", "serve/protocol.py"},
    "paho": {"publish/paho_connection.py", "publish/subscriber.py", "soak/listener.py"},
    # One fetches, one serves.
    "aiohttp": {"fetch.py", "web/server.py"},
    "prometheus_client": {"web/metrics.py"},
    "ruamel": {"yamlfile/rewrite.py"},
    "tenacity": {"live.py"},
    "sqlite3": {"state/database.py"},
    "matplotlib": {"bench/plot.py", "soak/plot.py", "tuning/plot.py", "archive/plot.py", "fleet/plot.py"},
    "distributed": {"archive/cluster.py"},
    "pyarrow": {"archive/tables.py"},
    "psutil": {"bench/fleet.py"},
}
NEVER_IN_THE_DAEMON = ("torch", "onnx", "nncf", "transformers", "matplotlib", "tensorflow")


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] != "zoo"]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; the package imports by full names"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(dotted: str) -> str | None:
    """``edgeseg.sources.rtsp`` -> ``sources``; None for the package itself."""
    parts = dotted.split(".")
    return parts[1] if parts[0] == "edgeseg" and len(parts) > 1 else None


def floor(name: str) -> int:
    for level, rooms in enumerate(FLOORS):
        if name in rooms:
            return level
    raise AssertionError(f"edgeseg/{name} is on no floor: say in FLOORS where it belongs")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downward(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        assert not [name for name in imports(path) if room(name)]
        return
    known = {rooms for level in FLOORS for rooms in level}
    for name in imports(path):
        other = room(name)
        if other is None or other == own or other == "__version__":
            continue
        assert other in known, f"{path.name} imports {name}, which is on no floor"
        assert floor(other) < floor(own), f"{path.relative_to(PACKAGE)} imports {name}: not downward"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_live_in_one_place(path: Path) -> None:
    place = path.relative_to(PACKAGE).as_posix()
    for name in imports(path):
        library = name.split(".")[0]
        assert library not in NEVER_IN_THE_DAEMON or library in HOMES, f"{place} imports {library}"
        if library in HOMES:
            assert place in HOMES[library], f"{place} imports {library}; only {HOMES[library]} may"


def calls(path: Path) -> set[str]:
    """What a file calls, as written: ``time.sleep``."""
    return {
        ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
    }


def test_the_clock_is_read_in_one_place() -> None:
    readers = {"time.time", "time.monotonic", "time.perf_counter", "datetime.now"}
    for path in modules():
        if path.name != "clock.py":
            assert not calls(path) & readers, f"{path.relative_to(PACKAGE)} reads the clock itself"


@pytest.mark.parametrize("folder", [PACKAGE, TESTS], ids=["package", "tests"])
def test_nobody_sleeps(folder: Path) -> None:
    # A wait that nobody can stop; in a test, also one that hopes. Wait for an event or poll for a condition.
    for path in sorted(folder.rglob("*.py")):
        sleeps = {"time.sleep", "sleep", "asyncio.sleep"} & calls(path)
        assert not sleeps, f"{path.relative_to(folder)} calls {sleeps}"


def test_the_daemon_imports_nothing_of_the_zoo() -> None:
    names = [
        "edgeseg." + path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
        for path in modules()
        if path.stem not in ("__init__", "__main__")
    ]
    assert {"edgeseg.daemon", "edgeseg.engines.litert", "edgeseg.commands.segment"} <= set(names)
    program = (
        "import importlib, json, sys\n"
        "for name in json.loads(sys.argv[1]):\n"
        "    try: importlib.import_module(name)\n"
        "    except ModuleNotFoundError as error:\n"
        "        # An engine or an extra that is not installed here.\n"
        "        if error.name in json.loads(sys.argv[2]): continue\n"
        "        raise\n"
        f"print([name for name in {NEVER_IN_THE_DAEMON!r} if name in sys.modules])\n"
        "print([name for name in sys.modules if name.startswith('edgeseg.zoo')])\n"
    )
    packages = [package for runtime in RUNTIMES.values() for package in runtime.packages]
    packages += ["tritonclient", "grpc"]
    # The engines import these only when they load a network.
    arguments = [json.dumps([*names, "onnxruntime", "ai_edge_litert.interpreter"]), json.dumps(packages)]
    answer = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=120
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split("\n")[:2] == ["[]", "[]"]

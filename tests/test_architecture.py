"""Imports run one way: a stage never imports a sibling stage, a heavy library lives in one place."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

import edgeseg
from edgeseg.models.runtimes import ENGINES

PACKAGE = Path(edgeseg.__file__).parent
TESTS = Path(__file__).parent
# The rooms from the ground up: a module may import from floors below its own, never from its own floor
# (inside a room, its files may know each other).
FLOORS: tuple[tuple[str, ...], ...] = (
    ("clock", "errors", "frames", "settings"),
    ("events", "geometry", "state", "system", "yamlfile"),
    ("models", "rules", "sources"),
    # what a camera's pictures and numbers pass, strangers to each other
    ("config", "observers", "publish", "screening", "stages"),
    ("capture", "drawing", "engines"),
    # commands that need the zoo import it when they run; the daemon never does
    ("evidence", "kserve", "pipeline", "zoo"),
    ("runtime",),
    ("replay", "web"),
    # what commands alone use is in tools: the daemon imports none of it
    ("daemon", "testing", "tools"),
    ("commands", "pytest_plugin"),
    ("cli",),
    ("__main__",),
)
# Rooms that only these rooms may import.
ONLY_FOR = {"tools": {"commands"}, "zoo": {"commands"}}
# Each heavy library and the only files that may import it. av decodes in one place and encodes in another.
HOMES = {
    "av": {
        "sources/decode.py",
        "tools/archive/clip_segments.py",
        "sources/hardware.py",
        "sources/packets.py",
        "drawing/video_writer.py",
        "tools/bench/clips.py",
        "tools/bench/picture_faults.py",
    },
    # The other ways of working that bench compares with use runtimes as others do.
    "onnxruntime": {"engines/onnxruntime.py", "tools/bench/naive.py"},
    "openvino": {"engines/openvino.py", "tools/bench/naive.py"},
    "ai_edge_litert": {"engines/litert.py"},
    "tflite_runtime": {"engines/litert.py"},
    # The soak listens as any other subscriber does.
    "tritonclient": {"kserve/client.py", "kserve/client_memory.py", "kserve/server.py"},
    "grpc": {"kserve/client.py", "kserve/server.py"},
    "paho": {"publish/mqtt/paho_connection.py", "publish/mqtt/subscriber.py", "tools/soak/listener.py"},
    # One fetches, one serves.
    "aiohttp": {"system/download.py", "web/server.py", "web/streaming.py"},
    "prometheus_client": {"web/metrics.py"},
    "ruamel": {"yamlfile/rewrite.py"},
    "sqlite3": {"state/database.py"},
    # bench also sets the ticks of an axis.
    "matplotlib": {"tools/plotting.py", "tools/bench/plot.py"},
    "distributed": {"tools/archive/dask_workers.py"},
    "pyarrow": {"tools/archive/tables.py"},
    "psutil": {"tools/bench/live_cameras.py"},
}
NEVER_IN_THE_DAEMON = ("torch", "onnx", "nncf", "transformers", "matplotlib", "tensorflow")


def every_module() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def modules() -> list[Path]:
    return [path for path in every_module() if path.relative_to(PACKAGE).parts[0] != "zoo"]


def dotted(path: Path) -> str:
    """``edgeseg/sources/open.py`` -> ``edgeseg.sources.open``; a package is named by its folder."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path, names: Collection[str]) -> Iterator[str]:
    """Which of the modules ``names`` a file imports: ``from a import b`` names ``a.b`` where that is one."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield from (name for name in [full if full in names else node.module or ""] if name in names)


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


@pytest.mark.parametrize("path", every_module(), ids=lambda path: str(path.relative_to(PACKAGE)))
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
        assert own in ONLY_FOR.get(other, {own}), f"{path.relative_to(PACKAGE)} imports {name}"


def test_the_root_is_the_vocabulary_and_the_entrances() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 14
    assert len(FLOORS) <= 12
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in every_module()}
    assert rooms - {"__init__"} == {room for level in FLOORS for room in level}


def is_face(node: ast.stmt) -> bool:
    """Whether a statement belongs in a face: the docstring, imports, ``__all__`` and ``__version__``."""
    if isinstance(node, ast.Assign):
        return all(
            isinstance(name, ast.Name) and name.id in ("__all__", "__version__") for name in node.targets
        )
    return isinstance(node, (ast.Import, ast.ImportFrom)) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: str(path.parent.relative_to(PACKAGE))
)
def test_a_package_s_init_is_a_face(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{path.relative_to(PACKAGE)} does not say what the folder holds"
    logic = [ast.unparse(node).split("\n")[0] for node in tree.body if not is_face(node)]
    assert not logic, f"{path.relative_to(PACKAGE)} holds logic: {logic}"


def test_no_module_imports_itself_round_a_corner() -> None:
    """No import circle of modules, imports for types alone and inside functions included."""
    names = {dotted(path): path for path in every_module()}
    graph = {name: sorted({*imported_modules(path, names)}) for name, path in names.items()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for other in graph[name]:
                visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


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
    packages = [package for spec in ENGINES.values() for package in spec.packages]
    packages += ["tritonclient", "grpc"]
    # The engines import these only when they load a network.
    arguments = [json.dumps([*names, "onnxruntime", "ai_edge_litert.interpreter"]), json.dumps(packages)]
    answer = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=120
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split("\n")[:2] == ["[]", "[]"]

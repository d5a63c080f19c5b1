"""Weights are found, fetched, resumed and verified; nothing half or wrong is ever kept."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from edgeseg.errors import ModelError
from edgeseg.models import registry
from edgeseg.models.model import Model
from tests.support.tiny_models import Convention, write_model

BODY = bytes(range(256)) * 4096


class Origin(ThreadingHTTPServer):
    """A web server with one file, which can cut a connection, ignore ranges, or serve something else."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.body = BODY
        self.cut_after: list[int] = []
        self.ranges = True
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.onnx"


class _Answer(BaseHTTPRequestHandler):
    server: Origin

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        start = 0
        if self.path != "/weights.onnx":
            self.send_error(404)
            return
        if asked is not None and self.server.ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            total = len(self.server.body)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            self.send_response(200)
        rest = self.server.body[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.server.cut_after:
            self.wfile.write(rest[: self.server.cut_after.pop(0)])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(rest)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the caller's models and caches."""
    for name in ("EDGESEG_MODEL_MIRROR", "EDGESEG_CACHE", "STATE_DIRECTORY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EDGESEG_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)


def pinned(folder: Path, url: str | None, body: bytes = BODY) -> Model:
    """A model whose weights are not there, pinned to ``body``."""
    write_model(folder, Convention())
    document = yaml.safe_load((folder / "model.yaml").read_text())
    entry = document["artefacts"][0]
    entry |= {"file": "weights.onnx", "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    if url is not None:
        entry["url"] = url
    (folder / "model.yaml").write_text(yaml.safe_dump(document))
    (folder / "tiny.onnx").unlink()
    return registry.find(str(folder))


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_finds_by_name_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for root in ("a", "b"):
        write_model(tmp_path / root / "tiny", Convention(), title=root)
    write_model(tmp_path / "b" / "other", Convention())
    monkeypatch.setenv("EDGESEG_MODELS", f"{tmp_path / 'a'}:{tmp_path / 'b'}")
    assert registry.find("tiny").title == "a"
    assert registry.find("other").name == "other"
    assert {"tiny", "other", "deeplabv3-mnv2-pascal"} <= {model.name for model in registry.list_models()}


def test_models_that_have_a_class(tmp_path: Path) -> None:
    write_model(tmp_path / "models" / "tiny", Convention())
    write_model(tmp_path / "models" / "broken", Convention(), fit="strech")
    assert registry.models_with("red") == ("tiny",)
    assert registry.models_with("no_such_class") == ()


def test_finds_by_path(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "elsewhere" / "tiny", Convention())
    for path in (folder, folder / "model.yaml", folder / "tiny.onnx"):
        assert registry.find(str(path)).folder == folder
    (folder / "model.yaml").rename(folder / "tiny.yaml")
    assert registry.find(str(folder / "tiny.onnx")).name == "tiny"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("deeplabv3-mnv2-pascl", "did you mean 'deeplabv3-mnv2-pascal'?"),
        ("nowhere/tiny", "no such model folder"),
        ("lonely.onnx", "needs a manifest beside it: lonely.yaml or model.yaml"),
        ("..", "no model"),
    ],
)
def test_what_cannot_be_found(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "lonely.onnx").write_bytes(b"")
    with pytest.raises(ModelError) as caught:
        registry.find(name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pull_downloads_verifies_and_reports(tmp_path: Path, origin: Origin) -> None:
    model = pinned(tmp_path / "models" / "tiny", origin.url)
    seen: list[int] = []
    (path,) = registry.pull(model, lambda blob, done: seen.append(done))
    assert path.read_bytes() == BODY
    assert seen == sorted(seen)
    assert seen[-1] == len(BODY)
    assert left(model.folder) == ["model.yaml", "weights.onnx"]
    assert registry.artefact_path(model, model.artefacts[0]) == path
    registry.pull(model)
    assert len(origin.asked) == 1, "what is here and right is not fetched again"


def test_pull_goes_on_where_the_connection_was_cut(tmp_path: Path, origin: Origin) -> None:
    model = pinned(tmp_path / "models" / "tiny", origin.url)
    origin.cut_after = [300_000]
    (path,) = registry.pull(model)
    assert path.read_bytes() == BODY
    assert origin.asked[0] is None
    assert origin.asked[1] is not None
    start = int(origin.asked[1].removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= 300_000


def test_an_interrupted_pull_is_resumed_by_the_next(tmp_path: Path, origin: Origin) -> None:
    model = pinned(tmp_path / "models" / "tiny", origin.url)
    origin.cut_after = [200_000]
    stop = threading.Event()
    stop.set()
    with pytest.raises(ModelError, match="again to go on where it stopped"):
        registry.pull(model, stop=stop)
    assert left(model.folder) == ["model.yaml", "weights.onnx.partial"]
    with pytest.raises(ModelError, match="are not here"):
        registry.artefact_path(model, model.artefacts[0])
    registry.pull(model)
    assert origin.asked[-1] is not None
    assert left(model.folder) == ["model.yaml", "weights.onnx"]


@pytest.mark.parametrize("start", [b"wrong" * 1000, BODY[:1000], b"x" * len(BODY), b"x" * (len(BODY) + 5)])
def test_whatever_was_left_behind_the_result_is_right(tmp_path: Path, origin: Origin, start: bytes) -> None:
    model = pinned(tmp_path / "models" / "tiny", origin.url)
    (model.folder / "weights.onnx.partial").write_bytes(start)
    (path,) = registry.pull(model)
    assert path.read_bytes() == BODY


def test_a_server_without_ranges(tmp_path: Path, origin: Origin) -> None:
    origin.ranges = False
    model = pinned(tmp_path / "models" / "tiny", origin.url)
    (model.folder / "weights.onnx.partial").write_bytes(BODY[:5000])
    (path,) = registry.pull(model)
    assert path.read_bytes() == BODY


@pytest.mark.parametrize("body", [b"y" * len(BODY), BODY + b"more", BODY[:-1]])
def test_other_content_leaves_nothing_usable(tmp_path: Path, origin: Origin, body: bytes) -> None:
    origin.body = body
    model = pinned(tmp_path / "models" / "tiny", origin.url)
    stop = threading.Event()
    stop.set()
    with pytest.raises(ModelError) as caught:
        registry.pull(model, stop=stop)
    assert "\n" not in str(caught.value)
    assert not (model.folder / "weights.onnx").exists()
    if len(body) == len(BODY):
        for words in (hashlib.sha256(body).hexdigest(), hashlib.sha256(BODY).hexdigest(), "nothing was kept"):
            assert words in str(caught.value)
        assert left(model.folder) == ["model.yaml"]


def test_offline_says_so_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/weights.onnx"
        model = pinned(tmp_path / "models" / "tiny", url)
        with pytest.raises(ModelError) as caught:
            registry.pull(model)
    assert str(caught.value) == (
        f"model tiny: {url}: cannot connect to 127.0.0.1: Connection refused; run `edgeseg models pull tiny` "
        "again to go on where it stopped; offline: set EDGESEG_MODEL_MIRROR to a folder that holds the file"
    )
    assert left(model.folder) == ["model.yaml"]


def test_a_page_that_is_gone(tmp_path: Path, origin: Origin) -> None:
    model = pinned(tmp_path / "models" / "tiny", origin.url + ".gone")
    with pytest.raises(ModelError, match="answered 404"):
        registry.pull(model)
    assert len(origin.asked) == 1


@pytest.mark.parametrize("where", ["weights.onnx", "tiny/weights.onnx"])
def test_a_mirror_works_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    (tmp_path / "mirror" / where).parent.mkdir(parents=True)
    (tmp_path / "mirror" / where).write_bytes(BODY)
    monkeypatch.setenv("EDGESEG_MODEL_MIRROR", str(tmp_path / "mirror"))
    model = pinned(tmp_path / "models" / "tiny", None)
    (path,) = registry.pull(model)
    assert path.read_bytes() == BODY
    (tmp_path / "mirror" / where).write_bytes(b"other")
    path.unlink()
    with pytest.raises(ModelError, match="nothing was kept"):
        registry.pull(model)
    assert left(model.folder) == ["model.yaml"]


def test_weights_go_to_the_cache_that_is_named(
    tmp_path: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = pinned(tmp_path / "models" / "tiny", origin.url)
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "cache"))
    (path,) = registry.pull(model)
    assert path == tmp_path / "cache" / "models" / "tiny" / "weights.onnx"
    assert registry.artefact_path(model, model.artefacts[0]) == path
    monkeypatch.delenv("EDGESEG_CACHE")
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path / 'cache'}:/elsewhere")
    assert registry.artefact_path(model, model.artefacts[0]) == path


def test_a_damaged_file_is_never_handed_out(tmp_path: Path, origin: Origin) -> None:
    model = pinned(tmp_path / "models" / "tiny", origin.url)
    (path,) = registry.pull(model)
    path.write_bytes(BODY[:100])
    with pytest.raises(ModelError) as caught:
        registry.artefact_path(model, model.artefacts[0])
    for words in (str(path), "(100 bytes)", str(len(BODY)), "cut short", "edgeseg models pull tiny"):
        assert words in str(caught.value)
    registry.pull(model)
    assert path.read_bytes() == BODY


def test_two_pulls_do_not_mix(tmp_path: Path, origin: Origin) -> None:
    model = pinned(tmp_path / "models" / "tiny", origin.url)
    refused: list[str] = []

    def second(blob: object, done: int) -> None:
        if not refused:
            with pytest.raises(ModelError, match="another edgeseg"):
                registry.pull(model)
            refused.append("yes")

    (path,) = registry.pull(model, second)
    assert refused
    assert path.read_bytes() == BODY

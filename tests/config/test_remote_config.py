"""The key ``remote``: whose servers, with which token, and what of it must never be seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseg import config
from edgeseg.config.keys.remote import server
from edgeseg.errors import ConfigError
from edgeseg.settings import RemoteServer

FILE = """\
model: deeplabv3plus-mnv2-camvid
engine: kserve
remote:
  url: ["grpcs://box:9001", "grpcs://10.0.0.10"]
  token_file: remote_token
  ca_file: ca.pem
  deadline: 500 ms
  fallback: none
cameras:
  yard: {source: a.mp4}
  gate: {source: a.mp4, engine: auto}
  dock: {source: a.mp4, remote: {url: "grpc://127.0.0.1:8001", transport: jpeg, model: mine}}
"""


@pytest.mark.parametrize(
    ("written", "parsed"),
    [
        ("grpc://box:9001", RemoteServer("box", 9001, False, False)),
        ("grpcs://box", RemoteServer("box", 8001, True, False)),
        ("grpc://localhost:1", RemoteServer("localhost", 1, False, True)),
        ("grpc://127.0.0.2", RemoteServer("127.0.0.2", 8001, False, True)),
        ("grpc://[::1]:8001", RemoteServer("::1", 8001, False, True)),
    ],
)
def test_addresses(written: str, parsed: RemoteServer) -> None:
    assert server(written) == parsed
    assert server(str(parsed)) == parsed


@pytest.mark.parametrize(
    "written", ["box:8001", "grpc://", "grpc://box/model", "grpc://box:99999", "grpc://a b"]
)
def test_what_is_no_address(written: str) -> None:
    with pytest.raises(ValueError, match=r"grpc://host:8001"):
        server(written)


def test_each_camera_has_the_servers_that_it_or_the_file_names(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(FILE)
    cameras = {one.name: one for one in config.load(tmp_path / "site.yaml").cameras}
    yard, dock = cameras["yard"].remote, cameras["dock"].remote
    assert cameras["gate"].remote is None
    assert yard is not None
    assert dock is not None
    assert [str(one) for one in yard.servers] == ["grpcs://box:9001", "grpcs://10.0.0.10:8001"]
    assert (yard.deadline_s, yard.fallback, yard.transport, yard.model) == (0.5, None, "raw", None)
    assert (dock.deadline_s, dock.fallback, dock.transport, dock.model) == (1.0, "auto", "jpeg", "mine")


def test_the_token_is_read_and_hidden(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(FILE)
    settings = config.load(tmp_path / "site.yaml")
    with pytest.raises(ConfigError) as missing:
        config.resolve(settings, {}, None)
    assert [problem.where for problem in missing.value.problems] == ["remote.token_file", "remote.ca_file"]
    (tmp_path / "remote_token").write_text("correct-horse-battery-staple\n")
    (tmp_path / "ca.pem").write_text("")
    resolved = config.resolve(settings, {}, None)
    remote = resolved.cameras[0].remote
    assert remote is not None
    assert remote.token is not None
    assert remote.token.reveal() == "correct-horse-battery-staple"
    assert remote.ca_file == str(tmp_path / "ca.pem")
    assert config.secrets_of(resolved) == ("correct-horse-battery-staple",)
    assert "correct-horse" not in repr(resolved)

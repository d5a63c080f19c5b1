"""The key ``web``: who may be reached by whom, and the token."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseg import config
from edgeseg.errors import ConfigError
from edgeseg.settings import WebSettings

FILE = "web: {web}\ncameras: {{yard: {{source: rtsp://10.0.0.5/stream2}}}}\n"


def written(folder: Path, web: str) -> Path:
    path = folder / "yard.yaml"
    path.write_text(FILE.format(web=web))
    return path


def told(folder: Path, web: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config.resolve(config.load(written(folder, web)), {}, None)
    (problem,) = caught.value.problems
    return f"{problem.where}: {problem.message}"


def test_nothing_listens_unless_told(tmp_path: Path) -> None:
    assert config.load(written(tmp_path, "off")).web is None
    assert config.load(written(tmp_path, "{listen: 'localhost:8088'}")).web == WebSettings(
        "127.0.0.1", 8088, None
    )
    assert config.load(written(tmp_path, "{listen: '[::1]:8088'}")).web == WebSettings("::1", 8088, None)


@pytest.mark.parametrize(
    ("web", "message"),
    [
        ("{listen: 0.0.0.0:8088}", "web.listen: others reach it there: that needs token_file beside it"),
        ("{listen: 127.0.0.1:8088, hosts: [cams.example.org]}", "web.hosts: hosts means that others reach"),
        (
            "{listen: 127.0.0.1:8088, hosts: ['https://x/'], token_file: x}",
            "web.hosts[0]: got 'https://x/', ",
        ),
        ("{listen: 8088}", "web.listen: got 8088, expected text"),
        ("{listen: 127.0.0.1:80888}", "web.listen: got '127.0.0.1:80888', expected an address of this"),
        ("{listen: example.org:8088}", "web.listen: got 'example.org:8088', expected an address of this"),
        ("on", "web: got on, expected off or keys; write {listen: 127.0.0.1:8088}"),
        ("127.0.0.1:8088", "web: got '127.0.0.1:8088', expected off or keys"),
        ("{listen: 0.0.0.0:8088, token_file: absent}", "web.token_file: no file 'absent', looked for"),
    ],
)
def test_each_mistake_has_one_clear_line(tmp_path: Path, web: str, message: str) -> None:
    assert told(tmp_path, web).startswith(message)


def test_the_token_is_read_and_kept_secret(tmp_path: Path) -> None:
    path = written(tmp_path, "{listen: 0.0.0.0:8088, token_file: token}")
    (tmp_path / "token").write_text("0123456789abcdef\n")
    settings = config.resolve(config.load(path), {}, None)
    assert settings.web is not None
    assert settings.web.token is not None
    assert settings.web.token.reveal() == "0123456789abcdef"
    assert config.secrets_of(settings) == ("0123456789abcdef",)
    assert "0123456789" not in repr(settings)
    (tmp_path / "token").write_text("hush\n")
    message = told(tmp_path, "{listen: 0.0.0.0:8088, token_file: token}")
    assert "less than 16 characters" in message
    assert "hush" not in message


def test_what_would_be_written_is_judged_like_a_file(tmp_path: Path) -> None:
    text = written(tmp_path, "off").read_text()
    assert config.check(text, tmp_path / "yard.yaml") == config.load(tmp_path / "yard.yaml")
    with pytest.raises(ConfigError, match=r"yard.yaml:2:18: cameras.yard.sourc:"):
        config.check(text.replace("source", "sourc"), tmp_path / "yard.yaml")

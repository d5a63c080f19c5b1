"""Credentials: where they come from, and that they stay there."""

from __future__ import annotations

import dataclasses
import io
import logging
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseg import config
from edgeseg.errors import ConfigError
from edgeseg.settings import PipelineSettings, Secret
from edgeseg.system.redaction import Redaction, redact, redact_url

PIPELINE = """\
node: n
mqtt: {url: mqtt://broker, username: me, password_file: mqtt_password}
cameras:
  yard:
    source: rtsp://viewer:${YARD_PASSWORD}@10.0.0.5/stream2
  porch:
    source: http://10.0.0.6/${PORCH_TOKEN}/video?pwd=literal-1
  shed:
    source: rtsp://viewer:literal-2@10.0.0.7/
  clip:
    source: clips/a.mp4
  gate:
    source: file:///srv/my%20clips/a.mp4
"""
ENV = {"YARD_PASSWORD": "p@ss/w:ö?#%", "PORCH_TOKEN": "t0ken"}


@pytest.fixture
def settings(tmp_path: Path) -> PipelineSettings:
    file = tmp_path / "site.yaml"
    file.write_text(PIPELINE)
    return config.load(file)


def test_variables_are_percent_encoded_and_files_absolute(settings: PipelineSettings, tmp_path: Path) -> None:
    (tmp_path / "mqtt_password").write_text("hunter 2\n")
    resolved = config.resolve(settings, ENV, None)
    urls = {camera.name: camera.source.url for camera in resolved.cameras}
    assert {name: url.reveal() for name, url in urls.items() if url is not None} == {
        "yard": "rtsp://viewer:p%40ss%2Fw%3A%C3%B6%3F%23%25@10.0.0.5/stream2",
        "porch": "http://10.0.0.6/t0ken/video?pwd=literal-1",
        "shed": "rtsp://viewer:literal-2@10.0.0.7/",
        "clip": str(tmp_path / "clips" / "a.mp4"),
        "gate": "/srv/my clips/a.mp4",
    }
    assert resolved.mqtt is not None
    assert resolved.mqtt.password == Secret("hunter 2")
    # Nothing else was touched, so that a reload compares like with like.
    assert dataclasses.replace(resolved, cameras=settings.cameras, mqtt=settings.mqtt) == settings


def test_a_credential_comes_before_a_file_beside_the_pipeline(
    settings: PipelineSettings, tmp_path: Path
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (tmp_path / "mqtt_password").write_text("beside")
    (credentials / "mqtt_password").write_text("credential")
    first = config.resolve(settings, ENV, credentials).mqtt
    (credentials / "mqtt_password").unlink()
    second = config.resolve(settings, ENV, credentials).mqtt
    assert first is not None
    assert second is not None
    assert (first.password, second.password) == (Secret("credential"), Secret("beside"))


def test_everything_that_is_missing_at_once(settings: PipelineSettings, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.resolve(settings, {"PORCH_TOKEN": ""}, tmp_path / "credentials")
    file = tmp_path / "site.yaml"
    assert [str(problem) for problem in caught.value.problems] == [
        f"{file}:2:57: mqtt.password_file: no file 'mqtt_password', looked for "
        f"{tmp_path}/credentials/mqtt_password and {tmp_path}/mqtt_password; create it",
        f"{file}:5:13: cameras.yard.source: the environment variable YARD_PASSWORD is not set; "
        "camera yard needs it",
        f"{file}:7:13: cameras.porch.source: the environment variable PORCH_TOKEN is empty; "
        "camera porch needs it",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"a\nb\n", "one line"),
        (b"\xff", "not UTF-8"),
        (b"x" * 5000, "one line"),
    ],
)
def test_password_files_that_hold_none(
    settings: PipelineSettings, tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "mqtt_password").write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        config.resolve(settings, ENV, None)


def test_a_folder_is_no_password_file(settings: PipelineSettings, tmp_path: Path) -> None:
    (tmp_path / "mqtt_password").mkdir()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        config.resolve(settings, ENV, None)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://10.0.0.5/stream", "rtsp://10.0.0.5/stream"),
        ("rtsp://u:p@10.0.0.5:554/stream", "rtsp://***@10.0.0.5:554/stream"),
        ("rtsp://u@10.0.0.5/stream", "rtsp://***@10.0.0.5/stream"),
        ("rtsp://u:p@ss/w?x@10.0.0.5/stream", "rtsp://***@10.0.0.5/stream"),
        ("RTSPS://u:p@10.0.0.5/", "RTSPS://***@10.0.0.5/"),
        ("http://h/cgi?user=a&channel=1&pwd=b", "http://h/cgi?user=***&channel=1&pwd=***"),
        ("http://h/cgi?access_token=a#x", "http://h/cgi?access_token=***#x"),
        ("http://h:80/a", "http://h:80/a"),
        ("http://h/me@home", "http://h/me@home"),
        ("clips/a.mp4", "clips/a.mp4"),
        ("tried rtsp://u:p@a/ and rtsp://u:p@b/", "tried rtsp://***@a/ and rtsp://***@b/"),
    ],
)
def test_redact_url(url: str, shown: str) -> None:
    assert redact_url(url) == shown
    assert redact_url(shown) == shown


PASSWORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Z", "C")), min_size=4, max_size=12
).filter(lambda text: text not in "rtsp://viewer:***@camera.example/stream")


@given(PASSWORDS, st.sampled_from(["rtsp", "rtsps", "http", "https", "mqtt"]))
def test_no_password_survives_in_a_url(password: str, scheme: str) -> None:
    shown = redact_url(f"cannot open {scheme}://viewer:{password}@camera.example/stream: refused")
    assert shown == f"cannot open {scheme}://***@camera.example/stream: refused"


def resolved(folder: Path, password: str, broker_password: str) -> PipelineSettings:
    (folder / "site.yaml").write_text(PIPELINE)
    (folder / "mqtt_password").write_text(broker_password)
    settings = config.load(folder / "site.yaml")
    return config.resolve(settings, {"YARD_PASSWORD": password, "PORCH_TOKEN": password}, None)


def test_settings_show_no_secret(tmp_path: Path) -> None:
    settings = resolved(tmp_path, "s3cret-camera", "s3cret-broker")
    for shown in (
        repr(settings),
        str(settings),
        f"{settings}",
        "%s %r" % (settings, settings),  # noqa: UP031 - one more way to print
        *(f"{camera.source} {camera.source.url!s} {camera.source.url!r}" for camera in settings.cameras),
        f"{settings.mqtt.password if settings.mqtt else ''}",
    ):
        for secret in ("s3cret", "literal-1", "literal-2"):
            assert secret not in shown
    # The camera process gets its settings by pickle, and must be able to use them.
    again = pickle.loads(pickle.dumps(settings))
    assert again == settings


@given(PASSWORDS, PASSWORDS)
def test_no_settings_reveal_a_secret(
    tmp_path_factory: pytest.TempPathFactory, password: str, broker_password: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "secrets"
    folder.mkdir(exist_ok=True)
    plain = repr(resolved(folder, "x", "y"))
    settings = resolved(folder, password, broker_password)
    assert repr(settings) == plain
    assert {password, broker_password} <= set(config.secrets_of(settings))


def test_what_counts_as_a_secret(tmp_path: Path) -> None:
    secrets = config.secrets_of(resolved(tmp_path, "p@ss/w", "broker"))
    assert secrets == ("broker", "literal-2", "p@ss/w")
    (tmp_path / "site.yaml").write_text(PIPELINE)
    assert config.secrets_of(config.load(tmp_path / "site.yaml")) == ()


@pytest.fixture
def logged() -> tuple[logging.Logger, io.StringIO, Redaction]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    redaction = Redaction(["s3cret"])
    handler.addFilter(redaction)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    return logger, stream, redaction


def test_log_records_lose_their_secrets(logged: tuple[logging.Logger, io.StringIO, Redaction]) -> None:
    logger, stream, redaction = logged
    logger.warning("cannot open %s", "rtsp://viewer:anything@10.0.0.5/")
    logger.warning("token %s, %d times", "s3cret", 3)
    redaction.learn(["p@ss/w"])
    logger.warning("sent p%40ss%2Fw and p@ss/w and s3cret")
    logger.warning("100 %% plain: %s", "rtsp://10.0.0.5/")
    assert stream.getvalue().splitlines() == [
        "WARNING cannot open rtsp://***@10.0.0.5/",
        "WARNING token ***, 3 times",
        "WARNING sent *** and *** and ***",
        "WARNING 100 % plain: rtsp://10.0.0.5/",
    ]


def test_tracebacks_lose_their_secrets(logged: tuple[logging.Logger, io.StringIO, Redaction]) -> None:
    logger, stream, _ = logged
    try:
        try:
            raise OSError(5, "no answer", "rtsp://viewer:inner@10.0.0.5/")
        except OSError as inner:
            raise RuntimeError("s3cret was refused by rtsp://viewer:outer@10.0.0.5/") from inner
    except RuntimeError:
        logger.exception("failed", stack_info=True)
    said = stream.getvalue()
    assert "RuntimeError: *** was refused by rtsp://***@10.0.0.5/" in said
    assert "rtsp://***@10.0.0.5/'" in said
    assert "Stack (most recent call last)" in said
    # The source lines of this test stand in the traceback, so its literals do too, redacted.
    for secret in ("s3cret", "inner@", "outer@"):
        assert secret not in said


def test_longer_secrets_go_first() -> None:
    assert redact("abcdef abc", ["abc", "abcdef", ""]) == "*** ***"

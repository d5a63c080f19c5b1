"""``edgeseg init``: with flags against a real camera, and asked on a real terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseg import config
from edgeseg.cli import main
from edgeseg.commands.init.camera import camera_of
from edgeseg.commands.init.pipeline_text import Answers, classes_in_short, pipeline_text
from edgeseg.commands.init.prompts import Prompter
from edgeseg.errors import EdgesegError
from edgeseg.tools.doctor.streams import substream, vendor_of
from tests.conftest import write_clip
from tests.support.broker import free_port
from tests.support.rtsp_fixtures import RtspServer
from tests.support.terminal import Terminal
from tests.support.tiny_models import Convention, write_model

NO_TERMINAL = Prompter(asks=False)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return write_model(tmp_path / "tiny", Convention())


def test_of_many_classes_those_that_people_watch_for_are_told() -> None:
    classes = ("background", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "person")
    assert classes_in_short(classes) == "person, car, background, bird, boat, bottle, bus, cat and 1 more"
    assert classes_in_short(("road", "car")) == "car, road"


@pytest.mark.parametrize(
    ("main_stream", "sub"),
    [
        ("rtsp://u:${P}@h:554/Streaming/Channels/101", "rtsp://u:${P}@h:554/Streaming/Channels/102"),
        ("rtsp://h/Streaming/Channels/1601?x=1", "rtsp://h/Streaming/Channels/1602?x=1"),
        ("rtsp://h/h264/ch1/main/av_stream", "rtsp://h/h264/ch1/sub/av_stream"),
        ("rtsp://h/cam/realmonitor?channel=1&subtype=0", "rtsp://h/cam/realmonitor?channel=1&subtype=1"),
        ("rtsp://h/h264Preview_01_main", "rtsp://h/h264Preview_01_sub"),
        ("rtsp://h/h265Preview_02_main", "rtsp://h/h264Preview_02_sub"),
        ("rtsp://h/Preview_01_main", "rtsp://h/h264Preview_01_sub"),
        ("rtsp://h/stream1", "rtsp://h/stream2"),
        ("rtsp://h/videoMain", "rtsp://h/videoSub"),
        ("rtsp://h/media/video1", "rtsp://h/media/video2"),
        (
            "rtsp://h/axis-media/media.amp?videocodec=h264&resolution=1920x1080",
            "rtsp://h/axis-media/media.amp?videocodec=h264&resolution=640x360&fps=10",
        ),
        ("rtsp://h/Streaming/Channels/102", None),
        ("rtsp://h/cam/realmonitor?channel=1&subtype=1", None),
        ("rtsp://h/axis-media/media.amp?resolution=640x360&fps=10", None),
        ("rtsps://h:7441/AbCdEf?enableSrtp", None),
        ("rtsp://stream1.example.org/live", None),
        ("rtsp://h", None),
    ],
)
def test_the_substream_of_a_main_stream(main_stream: str, sub: str | None) -> None:
    other = substream(main_stream)
    assert (other.url if other else None) == sub


def test_a_vendor_whose_address_does_not_tell_the_substream() -> None:
    vendor = vendor_of("rtsps://10.0.0.1:7441/AbCdEf?enableSrtp")
    assert vendor is not None
    assert "medium quality" in vendor.where


@pytest.mark.parametrize(
    ("address", "template", "password"),
    [
        ("rtsp://viewer:s%40cret@h/stream2", "rtsp://viewer:${FRONT_DOOR_PASSWORD}@h/stream2", "s@cret"),
        ("rtsp://viewer:s@cret@h/stream2", "rtsp://viewer:${FRONT_DOOR_PASSWORD}@h/stream2", "s@cret"),
    ],
)
def test_a_password_goes_into_a_variable(address: str, template: str, password: str) -> None:
    camera = camera_of(address, "front-door", NO_TERMINAL)
    assert (camera.template, dict(camera.values)) == (template, {"FRONT_DOOR_PASSWORD": password})
    assert camera.url == "rtsp://viewer:s%40cret@h/stream2"
    assert password not in camera.redacted


def test_a_variable_in_the_address_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "rtsp://viewer:${THE_PASSWORD}@h/stream2"
    with pytest.raises(EdgesegError, match="export THE_PASSWORD="):
        camera_of(address, "front", NO_TERMINAL)
    monkeypatch.setenv("THE_PASSWORD", "a/b")
    assert camera_of(address, "front", NO_TERMINAL).url == "rtsp://viewer:a%2Fb@h/stream2"


@pytest.mark.parametrize("classes", [("sky", "car"), ("sky", "road")])
@pytest.mark.parametrize("mqtt", [None, "mqtts://broker.local"])
def test_every_text_is_a_right_file(classes: tuple[str, ...], mqtt: str | None) -> None:
    answers = Answers(
        file="no.yaml",
        node="no",
        camera="12",
        source="rtsp://u:${P}@h/a?b=1&c=2",
        seen="640x360",
        model="deeplabv3plus-mnv2-camvid",
        classes=classes,
        engine="auto",
        measured="fast",
        rate_fps=2.5,
        mqtt=mqtt,
        username="on" if mqtt else None,
        variables=("P",),
    )
    settings = config.check(pipeline_text(answers), Path("no.yaml"))
    assert (settings.node, settings.cameras[0].name, settings.cameras[0].rate_fps) == ("no", "12", 2.5)
    assert settings.cameras[0].source.template == answers.source
    assert bool(settings.cameras[0].zones[0].rules) == ("car" in classes)


def test_the_substream_is_taken_and_no_password_is_written(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = write_clip(tmp_path / "large.mp4", width=1920, height=1080, fps=5, frames=5)
    small = write_clip(tmp_path / "small.mp4", width=640, height=360, fps=5, frames=5)
    with RtspServer(
        large, small, user="viewer", password="s3cret/x", paths={"/stream1": 0, "/stream2": 1}
    ) as server:
        url = server.url_with("viewer", "s3cret/x", "/stream1")
        mqtt = f"mqtt://edge@127.0.0.1:{free_port()}"
        arguments = ["--camera", url, "--name", "front", "--model", str(model), "--engine", "onnxruntime"]
        assert main(["init", "--yes", *arguments, "--mqtt", mqtt]) == 0
    output = capsys.readouterr().out
    text = (tmp_path / "front.yaml").read_text()
    assert "1920x1080, H.264" in output
    assert "its substream: 640x360, H.264" in text
    assert "does not answer yet" in output
    assert "export FRONT_PASSWORD='...'" in output
    assert "edgeseg run front.yaml" in output
    assert "http://127.0.0.1:8088/" in output
    assert "s3cret" not in output + text
    settings = config.load(tmp_path / "front.yaml")
    assert settings.cameras[0].source.template.endswith("/stream2")
    assert settings.cameras[0].rate_fps == 5
    assert settings.mqtt is not None
    assert (settings.mqtt.username, settings.mqtt.password_file) == ("edge", "mqtt_password")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "there is no terminal to ask on; give --camera URL"),
        (["--camera", "rtsp://127.0.0.1:1/stream2"], "--untested writes the file without trying the camera"),
        (["--camera", "rtps://h/s"], "the camera's address edgeseg reads no rtps://"),
        (["--camera", "rtsp://u:pass/word@h/s"], "the camera's address has"),
        (["--name", "Front Door"], "--name: 'F' cannot be in a name"),
        (["--mqtt", "mqtt://u:secret@h"], "the broker's address holds a password"),
        (["--output", "there.yaml"], "there.yaml: is there already"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(
    arguments: list[str], words: str, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.yaml").write_text("mine\n")
    assert main(["init", "--yes", "--model", str(model), *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1
    assert not any(word in error for word in ("secret", "pass/word"))
    assert [path.name for path in tmp_path.glob("*.yaml")] == ["there.yaml"]
    assert (tmp_path / "there.yaml").read_text() == "mine\n"


def test_asked_on_a_terminal(tmp_path: Path, model: Path) -> None:
    flags = ("--model", str(model), "--engine", "onnxruntime", "--untested")
    terminal = Terminal("init", *flags, folder=tmp_path)
    terminal.answer("a name for the camera [camera]: ", "Front Door")
    terminal.answer("write 'front_door'", "")
    terminal.answer("MQTT broker", "")
    terminal.answer("the camera's address", "rtps://wrong")
    terminal.answer("the camera's address (", "rtsp://viewer@10.0.0.5/stream2")
    terminal.answer("password of viewer", "typed-secret")
    terminal.wait_for("edgeseg run camera.yaml")
    assert "typed-secret" not in terminal.shown
    assert terminal.close() == 0
    settings = config.load(tmp_path / "camera.yaml")
    assert settings.cameras[0].source.template == "rtsp://viewer:${CAMERA_PASSWORD}@10.0.0.5/stream2"

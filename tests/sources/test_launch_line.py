"""GStreamer pipelines as text: what they hide, what a variable in them becomes, and in the pipeline file."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseg import config
from edgeseg.config.resolve import secrets_of
from edgeseg.errors import ConfigError
from edgeseg.settings import PipelineSettings
from edgeseg.sources.gstreamer import launch_line
from tests.support.tiny_models import Convention, write_model

RTSP = "rtspsrc location=rtsp://me:${PASSWORD}@10.0.0.5/s user-pw=${OTHER} ! decodebin ! appsink"


@pytest.mark.parametrize(
    ("source", "pipeline"),
    [
        ("gstreamer: a !  b\n ! appsink ", "a ! b ! appsink"),
        ("GStreamer:videotestsrc ! appsink", "videotestsrc ! appsink"),
        ("rtsp://camera/s", None),
        ("clips/gstreamer.mp4", None),
        ("v4l2:///dev/video0", None),
    ],
)
def test_a_pipeline_is_known_by_its_prefix(source: str, pipeline: str | None) -> None:
    assert launch_line.pipeline_of(source) == pipeline


@pytest.mark.parametrize(
    ("pipeline", "found"),
    [
        ("rtspsrc location=rtsp://me:a%40b@host/s ! appsink", {"a%40b", "a@b"}),
        (r"rtspsrc user-id=me user-pw=a\ b\!c ! appsink", {r"a\ b\!c", "a b!c"}),
        ('rtspsrc user-pw="a b" proxy-pw = xyz ! appsink', {'"a b"', "a b", "xyz"}),
        ("srtsrc passphrase='long enough' ! appsink", {"'long enough'", "long enough"}),
        ('souphttpsrc extra-headers="headers,X=y" ! appsink', {'"headers,X=y"', "headers,X=y"}),
        ("x264enc key-int-max=30 pass=5 bitrate=1000 ! appsink", set()),
        ("rtspsrc location=rtsp://host:8554/s user-id=viewer ! video/x-raw,width=640 ! appsink", set()),
    ],
)
def test_passwords_are_found_where_pipelines_have_them(pipeline: str, found: set[str]) -> None:
    assert launch_line.secrets(pipeline) == found
    assert not any(secret in launch_line.shown(pipeline) for secret in found)


def test_variables_become_what_their_place_needs() -> None:
    values = {"PASSWORD": "a b/@!", "OTHER": 'c "d" ! e'}
    assert launch_line.filled(RTSP, values) == (
        "rtspsrc location=rtsp://me:a%20b%2F%40%21@10.0.0.5/s "
        r"user-pw=c\ \"d\"\ \!\ e ! decodebin ! appsink"
    )


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        ("videotestsrc", "has no appsink"),
        ("videotestsrc name=appsinks ! fakesink", "has no appsink"),
        ('filesrc location="my appsink" ! fakesink', "has no appsink"),
        ("videotestsrc ! tee name=t ! appsink t. ! appsink", "has 2 elements appsink"),
        ("${PIPELINE} ! appsink", "only in the value of a property"),
        ('rtspsrc user-pw="${PASSWORD}" ! appsink', "in quotes; write it without"),
    ],
)
def test_what_the_text_alone_tells(pipeline: str, words: str) -> None:
    assert words in (launch_line.syntax_error(pipeline) or "")


def test_the_converter_comes_before_the_sink_and_nowhere_else() -> None:
    text = 'filesrc location="a ! appsink" ! tee name=t ! fakesink t. !appsink sync=false'
    converted = (
        'filesrc location="a ! appsink" ! tee name=t ! fakesink t. ! videoconvert name=edgeseg-convert '
    )
    assert launch_line.with_converter(text) == converted + "! appsink sync=false"


def loaded(folder: Path, camera: str) -> PipelineSettings:
    write_model(folder / "tiny", Convention())
    file = folder / "yard.yaml"
    file.write_text(f"model: ./tiny\ncameras:\n  yard:\n{camera}")
    return config.load(file)


@pytest.mark.parametrize(
    "camera",
    [
        f"    source: {{gstreamer: '{RTSP}'}}\n",
        f"    source:\n      gstreamer: {RTSP}\n",
        "    source:\n      gstreamer: |\n        " + RTSP.replace(" ! ", " !\n        ") + "\n",
        f'    source: "gstreamer: {RTSP}"\n',
    ],
)
def test_a_pipeline_in_a_pipeline_file(tmp_path: Path, camera: str) -> None:
    settings = loaded(tmp_path, camera)
    source = settings.cameras[0].source
    assert (source.template, source.shown) == (f"gstreamer: {RTSP}", "gstreamer: rtspsrc ...")
    resolved = config.resolve(settings, {"PASSWORD": "hunter 2", "OTHER": "key!"}, None)
    url = resolved.cameras[0].source.url
    assert url is not None
    assert url.reveal() == (
        r"gstreamer: rtspsrc location=rtsp://me:hunter%202@10.0.0.5/s user-pw=key\! ! decodebin ! appsink"
    )
    assert {"hunter 2", "key!"} <= set(secrets_of(resolved))
    assert "hunter" not in repr(resolved)


@pytest.mark.parametrize(
    ("camera", "said"),
    [
        ("    source: {gstreamer: videotestsrc}\n", "4:13: cameras.yard.source: has no appsink"),
        ("    source: {gstreamer: 3}\n", "expected an address, or the key gstreamer alone"),
        ("    source: {file: a.mp4}\n", "expected an address, or the key gstreamer alone"),
        ("    source: csi://front\n", "expected the number of the camera connector: csi://0"),
        ("    source: csi:/0\n", "expected '//' after the colon"),
        ("    source: gst://x\n", "gstreamer: with a pipeline"),
        ("    source: a.mp4\n    decode: nvdec\n", "5:13: cameras.yard.decode: got 'nvdec', expected"),
        ("    source: csi://0\n    decode: cuda\n", "5:5: cameras.yard.decode: has no effect there"),
    ],
)
def test_mistakes_in_a_pipeline_file(tmp_path: Path, camera: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, camera)
    (problem,) = caught.value.problems
    assert said in str(problem)


def test_decode_is_a_key_of_the_camera(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "    source: a.mp4\n    decode: auto\n  gate:\n    source: csi://0\n")
    assert [camera.decode for camera in settings.cameras] == ["auto", "software"]
    assert settings.cameras[1].source.template == "csi://0"

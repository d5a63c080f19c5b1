"""Engine kserve with real servers of the protocol: `edgeseg serve`; Triton and MLServer where they are."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from edgeseg.cli import main
from edgeseg.clock import SystemClock
from edgeseg.config.keys.remote import server
from edgeseg.engines import open_engine
from edgeseg.engines.base import Engine
from edgeseg.errors import EngineAwayError, EngineError
from edgeseg.kserve import RemoteEngine, open_remote
from edgeseg.kserve.jpeg import decode, size_px
from edgeseg.kserve.served_model import AdmissionLimit, BadRequestError, FullError
from edgeseg.kserve.server_memory import RegionTable
from edgeseg.models import registry
from edgeseg.models.model import Model
from edgeseg.settings import RemoteSettings, Secret
from tests.support.broker import Certificates, wait_until
from tests.support.inference_servers import KINDS, InferenceServer
from tests.support.tiny_models import Convention, expected_labels, picture, write_model

SIZE = (64, 48)
NAMES = {"labels": "labels", "confidence": "confidence"}
DEPLOY = Convention(form="deploy", layout="nhwc", dtype="uint8", output_names=NAMES)
TOKEN = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return registry.find(str(write_model(tmp_path_factory.mktemp("models") / "tiny", DEPLOY)))


@pytest.fixture(scope="module", params=KINDS)
def served(request: pytest.FixtureRequest, model: Model) -> Iterator[InferenceServer]:
    with InferenceServer(request.param, model.folder) as running:
        yield running


@pytest.fixture(scope="module")
def ours(model: Model) -> Iterator[InferenceServer]:
    with InferenceServer("edgeseg", model.folder) as running:
        yield running


def settings(*urls: str, **changes: Any) -> RemoteSettings:
    servers = tuple(server(url) for url in urls)
    return replace(RemoteSettings(servers, None, None, None, 2.0, "raw", None), **changes)


def local(model: Model) -> Callable[[], Engine]:
    return lambda: open_engine(model, "onnxruntime", SIZE)


def opened(model: Model, wanted: RemoteSettings) -> RemoteEngine:
    return open_remote(model, wanted, SIZE, local(model))


@pytest.mark.parametrize("shared_memory", [False, True], ids=["socket", "memory"])
def test_the_same_labels_as_the_local_engine(
    served: InferenceServer, model: Model, shared_memory: bool
) -> None:
    engine = opened(model, settings(served.url, shared_memory=shared_memory))
    views = np.stack([picture(SIZE), picture(SIZE)[:, ::-1], np.full((48, 64, 3), 90, np.uint8)])
    reference = local(model)()
    try:
        answers, wanted = engine.run(views), reference.run(views)
        assert engine.name == "kserve"
        assert np.array_equal(answers["labels"][0], expected_labels("deploy", SIZE))
        for role in ("labels", "confidence"):
            assert (answers[role].dtype, answers[role].shape) == (np.uint8, (3, 12, 16))
            assert np.array_equal(answers[role], wanted[role])
    finally:
        engine.close()
        reference.close()


def test_many_at_once(served: InferenceServer, model: Model) -> None:
    views = [np.roll(picture(SIZE), 4 * number, axis=1)[None] for number in range(4)]
    reference = local(model)()
    wanted = [reference.run(view)["labels"] for view in views]
    reference.close()
    engine = opened(model, settings(served.url, deadline_s=3.0, fallback="onnxruntime"))
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(engine.run, views * 5))
    engine.close()
    assert all(np.array_equal(answer["labels"], wanted[at % 4]) for at, answer in enumerate(answers))


def test_another_size_is_found_when_it_is_loaded(served: InferenceServer, model: Model) -> None:
    with pytest.raises(EngineError, match=r"expected uint8 1x96x128x3 and labels.*at 128x96 there"):
        open_remote(model, settings(served.url), (128, 96), local(model))


def test_a_model_that_is_not_there(served: InferenceServer, model: Model) -> None:
    with pytest.raises(EngineError, match="other"):
        opened(model, settings(served.url, model="other"))


def test_a_killed_server_is_stood_in_for_and_taken_up_again(model: Model, tmp_path: Path) -> None:
    with InferenceServer("edgeseg", model.folder) as running:
        engine = opened(model, settings(running.url, fallback="onnxruntime"))
        try:
            running.kill()
            for _ in range(3):
                assert np.array_equal(engine.run(picture(SIZE)[None])["labels"][0], expected_labels())
            assert (engine.running_fallback, engine.name) == ("onnxruntime", "onnxruntime")
            running.start()
            wait_until(lambda: engine.running_fallback is None, "the server's return")
            assert np.array_equal(engine.run(picture(SIZE)[None])["labels"][0], expected_labels())
            assert engine.name == "kserve"
        finally:
            engine.close()


def test_frames_are_lost_where_nothing_stands_in(model: Model) -> None:
    with InferenceServer("edgeseg", model.folder) as running:
        engine = opened(model, settings(running.url))
        running.kill()
        with pytest.raises(EngineAwayError, match=r"grpc://127\.0\.0\.1:\d+ cannot be reached"):
            engine.run(picture(SIZE)[None])
        assert engine.running_fallback == "none"
        engine.close()
        with pytest.raises(EngineError, match="write `fallback: auto`"):
            opened(model, settings(running.url))
        absent = opened(model, settings(running.url, fallback="onnxruntime"))
        assert absent.name == "onnxruntime"
        absent.close()


def test_a_server_that_hangs_costs_a_deadline_and_no_frame(model: Model) -> None:
    clock = SystemClock()
    with InferenceServer("edgeseg", model.folder) as running:
        engine = opened(model, settings(running.url, deadline_s=0.5, fallback="onnxruntime"))
        try:
            running.signal(signal.SIGSTOP)
            began_s = clock.monotonic_s()
            for _ in range(20):
                assert np.array_equal(engine.run(picture(SIZE)[None])["labels"][0], expected_labels())
            # Two late answers, then nobody waits for it any more.
            assert 0.9 < clock.monotonic_s() - began_s < 30
            assert engine.running_fallback == "onnxruntime"
        finally:
            running.signal(signal.SIGCONT)
            engine.close()


def test_two_servers_share_the_work_and_one_takes_it_all(model: Model, ours: InferenceServer) -> None:
    with InferenceServer("edgeseg", model.folder) as second:
        engine = opened(model, settings(ours.url, second.url))
        try:
            for _ in range(10):
                engine.run(picture(SIZE)[None])
            assert min(engine.served.values()) >= 4
            second.kill()
            # The request that fails there is repeated here: nobody notices.
            for _ in range(10):
                assert np.array_equal(engine.run(picture(SIZE)[None])["labels"][0], expected_labels())
            assert (engine.name, engine.running_fallback) == ("kserve", None)
        finally:
            engine.close()


def test_other_classes_are_refused(ours: InferenceServer, model: Model, tmp_path: Path) -> None:
    text = (model.folder / "model.yaml").read_text().replace("name: green", "name: lawn")
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "model.yaml").write_text(text)
    (folder / "tiny.onnx").write_bytes((model.folder / "tiny.onnx").read_bytes())
    with pytest.raises(EngineError, match=r"has the classes background,red,green,blue; model tiny here has"):
        opened(registry.find(str(folder)), settings(ours.url))


def test_logits_are_made_labels_by_who_serves(tmp_path: Path) -> None:
    found = registry.find(str(write_model(tmp_path / "floats", Convention())))
    with InferenceServer("edgeseg", found.folder) as running:
        engine = open_remote(found, settings(running.url), SIZE, local(found))
        answer = engine.run(picture(SIZE)[None])
        engine.close()
    assert set(answer) == {"labels", "confidence"}
    assert np.array_equal(answer["labels"][0], expected_labels())


def test_token_and_tls(model: Model, tmp_path: Path) -> None:
    made = Certificates.make(tmp_path)
    (tmp_path / "token").write_text(TOKEN + "\n")
    arguments = (
        *("--token-file", str(tmp_path / "token")),
        *("--certificate", str(made.certificate), "--key", str(made.key)),
    )
    with InferenceServer("edgeseg", model.folder, *arguments) as running:
        url = f"grpcs://localhost:{urlsplit(running.url).port}"
        right = settings(url, token=Secret(TOKEN), ca_file=str(made.ca))
        engine = opened(model, right)
        assert np.array_equal(engine.run(picture(SIZE)[None])["labels"][0], expected_labels())
        engine.close()
        for token in (None, Secret("wrong" + TOKEN)):
            with pytest.raises(EngineError, match=r"refuses us.*remote\.token_file") as refused:
                opened(model, replace(right, token=token))
            assert TOKEN not in str(refused.value)
        with pytest.raises(EngineError, match="cannot be reached"):
            opened(model, replace(right, ca_file=None))


def test_jpeg_costs_little_on_plain_pictures(ours: InferenceServer, model: Model) -> None:
    engine = opened(model, settings(ours.url, transport="jpeg"))
    answer = engine.run(picture(SIZE)[None])
    engine.close()
    assert (answer["labels"][0] == expected_labels()).mean() > 0.97


@pytest.mark.parametrize(
    ("coded", "says"),
    [(b"", "is not a JPEG"), (b"\xff\xd8\xff\xd9", "without a size"), (b"\x89PNG", "is not a JPEG")],
)
def test_what_is_no_jpeg(coded: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        size_px(coded)


def test_a_jpeg_is_measured_before_it_is_decoded() -> None:
    _, coded = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))
    whole = coded.tobytes()
    assert decode(whole, SIZE).shape == (1, 48, 64, 3)
    with pytest.raises(ValueError, match="is 64x48, expected 32x32"):
        decode(whole, (32, 32))
    at = whole.index(b"\xff\xc0")
    with pytest.raises(ValueError, match="cannot be decoded"):
        decode(whole[:2] + whole[at : at + 19] + b"\xff\xd9", SIZE)


@pytest.mark.parametrize("key", ["/../etc/passwd", "a/b", "", ".hidden", "/absent-edgeseg-region"])
def test_shared_memory_is_nothing_but_shared_memory(key: str) -> None:
    with pytest.raises(BadRequestError):
        RegionTable().register("a", key, 0, 16)


def test_more_than_run_and_wait_are_refused_at_once() -> None:
    admission, held, leave = AdmissionLimit(1, 0), threading.Event(), threading.Event()

    def work() -> None:
        with admission.turn(10):
            held.set()
            leave.wait(120)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(work)
        assert held.wait(120)
        with pytest.raises(FullError, match="admission limit"), admission.turn(10):
            pass
        leave.set()
        first.result()
    with admission.turn(0.05):
        assert admission.refused == 1
    patient = AdmissionLimit(1, 1)
    with patient.turn(1), pytest.raises(FullError, match="before the deadline"), patient.turn(0.05):
        pass


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--listen", "0.0.0.0:8001"], "this needs --token-file"),
        (["--listen", "8001"], "--listen: got '8001'"),
        (["--token-file", os.devnull], "16 characters or more"),
        (["--certificate", "a.pem"], "need each other"),
    ],
)
def test_serve_says_what_is_wrong(
    model: Model, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(model.folder), *arguments]) == 2
    assert says in capsys.readouterr().err

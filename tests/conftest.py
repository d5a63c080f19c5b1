"""Fixtures every suite shares: where the real data is, and a tiny clip for machines without it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edgeseg.models import registry
from tests.support import parallel, passwords, skips
from tests.support.examples import load_profile

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"


def test_data() -> Path:
    """The folder of real models and clips; it may not exist."""
    return Path(os.environ.get("EDGESEG_TEST_DATA", ROOT.parent / "shared" / "data"))


test_data.__test__ = False  # type: ignore[attr-defined]


def missing(what: str) -> None:
    """Skip, saying why; with CI=true that is a failure (``skips``)."""
    pytest.skip(f"{what} is missing")


def pytest_configure() -> None:
    """In a job of a shell's background SIGINT is ignored, and so it is in all that tests start."""
    load_profile()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of xdist's own schedulers the fault suite uses one."""
    return parallel.scheduling(config, log) if config.option.dist == "loadfile" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _is_one_of_many(config):
        items[:] = parallel.in_order(items)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Outside of pytest-timeout, which must not count the wait for a turn."""
    if not _is_one_of_many(item.config):
        return (yield)
    with parallel.Turns(_shared_folder(item.config)).turn(alone=item.get_closest_marker("alone") is not None):
        return (yield)


def _shared_folder(config: pytest.Config) -> Path:
    """The folder of this run; with pytest-xdist its processes have theirs in it."""
    own: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    return own.parent if _is_one_of_many(config) else own


def _is_one_of_many(config: pytest.Config) -> bool:
    """Whether this is a process of pytest-xdist."""
    return hasattr(config, "workerinput")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test whose output holds a password has failed, whatever else it shows."""
    report = yield
    _hold_against_skips(report)
    if report.when == "teardown" and (words := passwords.leaked(text for _, text in report.sections)):
        report.outcome = "failed"
        report.longrepr = f"put out passwords that tests use: {', '.join(words)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A file that skips itself as a whole."""
    report = yield
    _hold_against_skips(report)
    return report


def _hold_against_skips(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if skips.forbidden(reason.removeprefix("Skipped: ")):
        report.outcome = "failed"
        report.longrepr = f"skipped, and with CI=true it must not be: {reason}"


@pytest.fixture
def capsys(capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    """pytest's own; what a test takes out of it is searched for passwords like the rest."""
    taken = capsys.readouterr

    def readouterr() -> Any:
        result = taken()
        passwords.note(*result)
        return result

    capsys.readouterr = readouterr  # type: ignore[method-assign]
    return capsys


@pytest.fixture(autouse=True, scope="session")
def _commands_are_searched() -> Iterator[None]:
    """What programs that a test runs to their end have put out is searched for passwords."""
    really = subprocess.run

    def run(*args: Any, **options: Any) -> subprocess.CompletedProcess[Any]:
        result = really(*args, **options)
        for output in (result.stdout, result.stderr):
            if output:
                passwords.note(output if isinstance(output, str) else output.decode("latin-1"))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "run", run)
        yield


@pytest.fixture(autouse=True, scope="session")
def _state_of_its_own(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """What the same user's daemons have kept, and the engines they have measured, is none of the tests'
    business. Measured once, an engine is known to all processes of this run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("XDG_CACHE_HOME", str(_shared_folder(pytestconfig) / "xdg-cache"))
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real models, pictures and clips (EDGESEG_TEST_DATA)."""
    folder = test_data()
    if not folder.is_dir():
        missing(f"the test data folder {folder} (set EDGESEG_TEST_DATA)")
    return folder


def write_clip(path: Path, *, width: int = 64, height: int = 48, fps: int = 10, frames: int = 30) -> Path:
    """A clip of a bright square that crosses a dark ground, H.264 with a keyframe each second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"g": str(fps), "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            picture = np.full((height, width, 3), 32, np.uint8)
            left = index * (width - 16) // max(frames - 1, 1)
            picture[height // 3 : height // 3 + 16, left : left + 16] = 224
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 3 s clip, 64 x 48 at 10 fps, made here."""
    return write_clip(tmp_path_factory.mktemp("clips") / "square.mp4")


@pytest.fixture(scope="session")
def pulled_models(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache (EDGESEG_CACHE) that holds the weights of the models that edgeseg ships manifests of."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGESEG_CACHE", str(cache))
        patch.setenv("EDGESEG_MODEL_MIRROR", str(data_dir / "models"))
        for model in registry.list_models():
            registry.pull(model)
    return cache

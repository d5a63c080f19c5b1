"""Engines are shared, come in the background, and go when nobody needs them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeseg.clock import ManualClock, SystemClock
from edgeseg.errors import ModelError
from edgeseg.models import registry
from edgeseg.models.model import Model
from edgeseg.runtime.engine_pool import EngineKey, EnginePool, Need
from tests.support.broker import wait_until
from tests.support.tiny_models import Convention, write_model

OWN, SMALL = (64, 48), (32, 32)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    sizes = [{"size": size, "miou": 0.5} for size in ("32x32", "64x48", "96x48", "48x64")]
    return registry.find(str(write_model(tmp_path / "tiny", Convention(multiple_of=16), sizes=sizes)))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def pool(clock: ManualClock) -> Iterator[EnginePool]:
    pool = EnginePool(clock, threading.Event())
    yield pool
    pool.close()


def need(model: Model) -> Need:
    return Need(model, EngineKey(model.digest, "onnxruntime", OWN), 5.0)


def test_cameras_with_the_same_need_share_one_engine(pool: EnginePool, model: Model) -> None:
    pool.load([need(model), need(model)], idle_threads=1)
    engine = pool.get(need(model).key)
    pool.load([need(model)], idle_threads=1)
    assert engine is not None
    assert pool.get(need(model).key) is engine


def test_all_or_nothing(pool: EnginePool, model: Model, tmp_path: Path) -> None:
    broken = registry.find(str(write_model(tmp_path / "other", Convention(scale=2.0))))
    (tmp_path / "other" / "tiny.onnx").unlink()
    with pytest.raises(ModelError, match=r"tiny\.onnx are not here"):
        pool.load([need(model), need(broken)], idle_threads=1)
    assert pool.get(need(model).key) is None


def test_smaller_sizes_are_those_that_fit_into_the_own(pool: EnginePool, model: Model) -> None:
    pool.load([need(model)], idle_threads=1)
    # 48x64 is of less width and more height: another view, not a smaller one.
    assert pool.sizes_px(model, need(model).key) == (OWN, SMALL)


def test_a_network_of_one_size_has_no_smaller_ones(pool: EnginePool, tmp_path: Path) -> None:
    fixed = registry.find(str(write_model(tmp_path / "fixed", Convention())))
    pool.load([need(fixed)], idle_threads=1)
    assert pool.sizes_px(fixed, need(fixed).key) == (OWN,)


def test_another_size_comes_in_the_background_and_goes_unused(
    pool: EnginePool, model: Model, clock: ManualClock
) -> None:
    base = need(model).key
    small = replace(base, input_size_px=SMALL)
    pool.load([need(model)], idle_threads=1)
    pool.fetch(model, base, SMALL)
    pool.fetch(model, base, SMALL)
    assert wait_until(pool.arrived, "it is there") == {small: None}
    assert pool.arrived() == {}
    engine = pool.get(small)
    assert engine is not None
    assert engine.run(np.zeros((1, 32, 32, 3), np.uint8))["logits"].shape == (1, 4, 8, 8)
    for _ in range(3):
        clock.advance(100)
        pool.tidy({base, small})
    pool.tidy({base})
    assert pool.get(small) is engine
    clock.advance(121)
    pool.tidy({base})
    assert pool.get(small) is None
    assert pool.get(base) is not None


def test_a_size_that_cannot_be_loaded_says_why(pool: EnginePool, model: Model) -> None:
    base = need(model).key
    pool.load([need(model)], idle_threads=1)
    (model.folder / "tiny.onnx").unlink()
    pool.fetch(model, base, SMALL)
    (error,) = wait_until(pool.arrived, "the failure is there").values()
    assert isinstance(error, ModelError)
    assert pool.get(replace(base, input_size_px=SMALL)) is None


def test_idle_cores_help_where_one_thread_is_too_slow(
    pool: EnginePool, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    """The clock stands still: a run takes no time at all, and one thread is enough for any rate."""
    caplog.set_level(logging.INFO)
    pool.load([need(model)], idle_threads=2)
    assert "do it together" not in caplog.text
    slow = EnginePool(SystemClock(), threading.Event())
    slow.load([replace(need(model), rate_fps=1e9)], idle_threads=2)
    assert "one thread takes" in caplog.text
    assert "2 do it together" in caplog.text
    slow.close()

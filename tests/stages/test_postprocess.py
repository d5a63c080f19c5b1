"""Every output form becomes the same label map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeseg.errors import EngineError
from edgeseg.frames import Fit
from edgeseg.models import registry
from edgeseg.models.model import Model
from edgeseg.stages import postprocess
from tests.support.tiny_models import Convention, write_model

FIT = Fit(1, 1, 1, 1, ())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Four classes."""
    return registry.find(str(write_model(tmp_path_factory.mktemp("m") / "tiny", Convention())))


def softmax(scores: np.ndarray) -> np.ndarray:
    shifted = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


LOGITS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.just(4), st.integers(1, 9), st.integers(1, 9)),
    elements=st.floats(-50, 50, width=32),
)


@settings(deadline=None)
@given(LOGITS, st.booleans())
def test_logits(model: Model, logits: np.ndarray, channels_last: bool) -> None:
    given_as = logits
    if channels_last:
        given_as = np.moveaxis(np.ascontiguousarray(np.moveaxis(logits, 1, -1)), -1, 1)
    answer = postprocess.label_map({"logits": given_as}, FIT, model)
    np.testing.assert_array_equal(answer.labels, logits.argmax(axis=1))
    assert answer.confidence is not None
    exact = softmax(logits).max(axis=1) * 255
    # Half a step of rounding, and float32 with OpenCV's exponential.
    assert np.abs(answer.confidence - exact).max() <= 0.51


@settings(deadline=None)
@given(
    hnp.arrays(np.int8, st.tuples(st.integers(1, 2), st.just(4), st.integers(1, 7), st.integers(1, 7))),
    st.sampled_from([0.05, 0.125, 1.0]),
)
def test_quantized_logits(model: Model, logits: np.ndarray, step: float) -> None:
    steps = np.full(len(logits), step, np.float32)
    answer = postprocess.label_map({"logits": logits, "scale": steps}, FIT, model)
    np.testing.assert_array_equal(answer.labels, logits.argmax(axis=1))
    assert answer.confidence is not None
    exact = softmax(logits.astype(np.float64) * step).max(axis=1) * 255
    assert np.abs(answer.confidence - exact).max() <= 0.51
    assert postprocess.label_map({"logits": logits}, FIT, model).confidence is None


def test_probabilities_float_and_quantized(model: Model) -> None:
    shares = np.array([0.1, 0.6, 0.3, 0.0], np.float32).reshape(1, 4, 1, 1)
    for outputs in (
        {"probabilities": shares},
        {"probabilities": np.rint(shares * 256).astype(np.uint8), "scale": np.array([1 / 256], np.float32)},
        {
            "probabilities": (np.rint(shares * 256) - 128).astype(np.int8),
            "scale": np.array([1 / 256], np.float32),
        },
    ):
        answer = postprocess.label_map(outputs, FIT, model)
        assert answer.labels.tolist() == [[[1]]]
        assert answer.confidence is not None
        assert abs(int(answer.confidence[0, 0, 0]) - 153) <= 1


def test_the_first_of_equals_wins(model: Model) -> None:
    answer = postprocess.label_map({"logits": np.zeros((1, 4, 2, 2), np.float32)}, FIT, model)
    assert not answer.labels.any()
    assert answer.confidence is not None
    assert set(answer.confidence.ravel().tolist()) == {64}


def test_a_deploy_graph_passes_through_without_a_copy(model: Model) -> None:
    labels = np.array([[[0, 1], [2, 3]]], np.uint8)
    confidence = np.full((1, 2, 2), 200, np.uint8)
    answer = postprocess.label_map({"labels": labels, "confidence": confidence}, FIT, model)
    assert np.shares_memory(answer.labels, labels)
    assert answer.confidence is confidence or np.shares_memory(answer.confidence, confidence)
    assert answer.fit is FIT


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64])
def test_labels_of_any_integer_type(model: Model, kind: type) -> None:
    answer = postprocess.label_map({"labels": np.array([[[0, 3]]], kind)}, FIT, model)
    assert answer.labels.dtype == np.uint8
    assert answer.labels.tolist() == [[[0, 3]]]
    assert answer.confidence is None


@pytest.mark.parametrize("wrong", [4, 255, 256, -1, 2**40])
def test_a_class_that_the_manifest_does_not_have(model: Model, wrong: int) -> None:
    with pytest.raises(EngineError, match=f"answered class {wrong}, the manifest has 0 to 3"):
        postprocess.label_map({"labels": np.array([[[0, wrong]]], np.int64)}, FIT, model)


def test_mask(model: Model) -> None:
    two = replace(model, classes=("background", "person"))
    logit = np.array([-4.0, 0.0, 4.0], np.float32).reshape(1, 1, 1, 3)
    answer = postprocess.label_map({"mask": logit}, FIT, two)
    assert answer.labels.tolist() == [[[0, 0, 1]]]
    assert answer.confidence is not None
    assert answer.confidence.tolist() == [[[250, 128, 250]]]

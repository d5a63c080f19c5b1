"""Every network that ships gives its golden label maps, on pictures drawn here: no data from outside."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from edgeseg.engines import open_engine
from edgeseg.models.runtimes import ENGINES
from tests.support.drawn_scenes import SCENES, street
from tests.support.golden_maps import FOLDER, UNSURE, Shipped, answer, shipped

SHIPPED = list(shipped())
# Each file with the engines that compute it as it is written. (OpenVINO quantizes an int8 file's inputs
# anew, by the picture: its maps are its own.)
CASES = [
    (one, engine)
    for one in SHIPPED
    for engine in ("onnxruntime", "litert", "openvino")
    if one.artefact.format in ENGINES[engine].formats
    and (engine != "openvino" or one.artefact.precision == "float")
]
# Of the cells that the golden map is sure of. Measured: 1.000 for floats in every engine, .998 or more for
# int8 by the kernels of another engine. Colours in the wrong order leave .9 or less.
LEAST_AGREEMENT = 0.98


def agreement(one: Shipped, engine: str, scene: str) -> float:
    """The share of the golden map's sure cells that this machine gives the same label."""
    loaded = one.opened(engine)
    labels = answer(loaded, one.model, SCENES[scene]()).labels[0]
    loaded.close()
    golden = cv2.imread(str(one.golden(scene)), cv2.IMREAD_UNCHANGED)
    assert golden is not None, f"{one.golden(scene)} is missing: python -m tests.support.golden_maps"
    assert labels.shape == golden.shape
    sure = golden != UNSURE
    assert sure.mean() > 0.3
    assert len(np.unique(golden[sure])) > 2
    return float((labels == golden)[sure].mean())


def test_a_network_ships() -> None:
    assert SHIPPED
    assert {one.golden(scene) for one in SHIPPED for scene in SCENES} == set(FOLDER.glob("*.png"))


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize(("one", "engine"), CASES, ids=[f"{one}-{engine}" for one, engine in CASES])
def test_label_maps_are_the_golden_ones(one: Shipped, engine: str, scene: str) -> None:
    if not ENGINES[engine].installed:
        pytest.skip(f"engine {engine} is not installed: {ENGINES[engine].install}")
    found = agreement(one, engine, scene)
    print(f"{found:.4f}")
    assert found >= LEAST_AGREEMENT


@pytest.mark.parametrize("one", [one for one in SHIPPED if one.artefact.precision == "float"], ids=str)
def test_a_wrong_convention_shows(one: Shipped) -> None:
    """The golden maps are sharp enough to tell colours in the wrong order."""
    if not ENGINES[one.reader].installed:
        pytest.skip(f"engine {one.reader} is not installed: {ENGINES[one.reader].install}")
    right = one.artefact.input
    wrong = replace(right, colour="rgb" if right.colour == "bgr" else "bgr")
    changed = replace(one.model, artefacts=(replace(one.artefact, input=wrong),))
    loaded = open_engine(changed, one.reader)
    labels = answer(loaded, changed, street()).labels[0]
    loaded.close()
    golden = cv2.imread(str(one.golden("street")), cv2.IMREAD_UNCHANGED)
    assert (labels == golden)[golden != UNSURE].mean() < 0.95

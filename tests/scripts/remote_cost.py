"""What a server costs, and what JPEG costs: ``make remote-cost``.

Each frame goes through the local engine and then through every server on the same machine, one after the
other, so that whatever else runs slows all alike; told are medians and their ratios to the local one. Then
JPEG of several qualities against the pixels as they are, with the local engine: labels and zones.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from edgeseg.clock import SystemClock
from edgeseg.config.keys.remote import server
from edgeseg.engines import open_engine
from edgeseg.engines.base import Engine
from edgeseg.frames import U8, FrameTime, Picture
from edgeseg.kserve import open_remote
from edgeseg.kserve.jpeg import decode
from edgeseg.models import registry
from edgeseg.settings import RemoteSettings
from edgeseg.stages.preprocess import Preprocess
from edgeseg.zoo import gate
from tests.conftest import test_data
from tests.support.inference_servers import KINDS, InferenceServer

MODEL = "deeplabv3plus-mnv2-camvid"
SIZE = (480, 384)
ROUNDS = 40
QUALITIES = (95, 90, 75, 50)
# Of each transport: its settings. Only our own server takes JPEG, and lets itself be given memory.
WAYS: dict[str, dict[str, Any]] = {
    "raw": {"transport": "raw", "shared_memory": False},
    "shared memory": {"transport": "raw", "shared_memory": True},
    "jpeg": {"transport": "jpeg", "shared_memory": False},
}


def views(most: int) -> Iterator[U8]:
    """uint8 (1, h, w, 3) RGB: CamVid's validation pictures, placed as the model's cameras' are."""
    paths = sorted((test_data() / "camvid" / "val").glob("*.jpg"))
    place = Preprocess("letterbox", SIZE)
    for path in paths[:: max(1, len(paths) // most)][:most]:
        rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        yield place(Picture((rgb,), "rgb", True, "bt601", FrameTime(0.0, 0.0)))[1]


def times(engines: Mapping[str, Engine]) -> Mapping[str, float]:
    """Engine -> median seconds of a frame."""
    clock, took_s = SystemClock(), defaultdict(list)
    pictures = list(views(10))
    for number in range(ROUNDS):
        for name, engine in engines.items():
            began_s = clock.monotonic_s()
            engine.run(pictures[number % len(pictures)])
            took_s[name].append(clock.monotonic_s() - began_s)
    # The first round warms up.
    return {name: statistics.median(values[1:]) for name, values in took_s.items()}


def servers() -> Iterator[tuple[str, float]]:
    """Way -> its time, as a share of the local engine's."""
    model = registry.find(MODEL)

    def local() -> Engine:
        return open_engine(model, "onnxruntime", SIZE)

    for kind in KINDS:
        with InferenceServer(kind, model.folder, size=SIZE) as running, ExitStack() as opened:
            engines: dict[str, Engine] = {"local": local()}
            for name, changes in WAYS.items() if kind == "edgeseg" else [("raw", WAYS["raw"])]:
                plain = RemoteSettings((server(running.url),), None, None, None, 3.0, "raw", None)
                engines[name] = open_remote(model, replace(plain, **changes), SIZE, local)
            for engine in engines.values():
                opened.callback(engine.close)
            found = times(engines)
            yield f"{kind}, local engine {found['local'] * 1000:.1f} ms", 1.0
            yield from (
                (f"{kind}, {name}", found[name] / found["local"]) for name in engines if name != "local"
            )


def jpeg() -> Iterator[str]:
    """One line for each quality: bytes, agreement of labels, error of a class's share of a zone."""
    model = registry.find(MODEL)
    engine = open_engine(model, "onnxruntime", SIZE)
    pictures = list(views(101))
    plain = [_labels(engine, view) for view in pictures]
    for quality in QUALITIES:
        coded = [_coded(view, quality) for view in pictures]
        labels = [_labels(engine, decode(one, SIZE)) for one in coded]
        verdict = gate.judge(plain, labels, len(model.classes))
        kilobytes = statistics.mean(len(one) for one in coded) / 1000
        yield (
            f"| {quality} | {kilobytes:.0f} kB, 1/{SIZE[0] * SIZE[1] * 3 / 1000 / kilobytes:.0f} | "
            f"{verdict.agreement:.2%} | {verdict.occupancy_mean:.2f} | {verdict.occupancy_p95:.2f} |"
        )
    engine.close()


def _labels(engine: Engine, view: U8) -> U8:
    return engine.run(view)["labels"][0].astype(np.uint8, copy=False)


def _coded(view: U8, quality: int) -> bytes:
    picture = cv2.cvtColor(view[0], cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())


def main(parts: Sequence[str]) -> None:
    """parts: ``servers``, ``jpeg``; without any both."""
    if "jpeg" not in parts or "servers" in parts:
        for name, share in servers():
            print(f"| {name} | {share:.2f} |", flush=True)
    if "servers" not in parts or "jpeg" in parts:
        for line in jpeg():
            print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

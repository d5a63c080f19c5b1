"""Make a model's TFLite artefact from a checkpoint:
``python -m edgeseg.zoo.build_tflite BEST.pt --size 736x544 --frames DIR|CLIP --out FILE [--float]``.

int8 unless ``--float`` is given, which SegFormer wants: its int8 TFLite is slower than the float one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from edgeseg.errors import EdgesegError, ModelError
from edgeseg.frames import U8
from edgeseg.system.atomic_files import INTACT, atomic_write
from edgeseg.zoo import gate, tflite
from edgeseg.zoo.data import to_input
from edgeseg.zoo.networks.segformer import SegFormer
from edgeseg.zoo.rounding import rounded
from edgeseg.zoo.sizes import size_of
from edgeseg.zoo.state import load_network
from edgeseg.zoo.views import views_of

CHECKED_VIEWS = 4
LEAST_AGREEMENT = 0.9995
"""As for ONNX: see agreement.py, which needs the ONNX tools."""


def build(
    network: nn.Module,
    classes: int,
    views: Sequence[U8],
    out: Path,
    thresholds: gate.Thresholds,
    *,
    keep_float: bool,
    force: bool = False,
) -> gate.Verdict:
    """Convert, check against torch, quantize, lint, judge, write. views: network inputs of one size.

    Raises ModelError if a check fails; a failed gate or linter is overruled by ``force``.
    """
    exported = network.merged() if isinstance(network, SegFormer) else network
    height, width = views[0].shape[:2]
    model = tflite.convert(exported, (width, height))
    plain = tflite.labels_of(model, views)
    for view, labels in list(zip(views, plain, strict=True))[:CHECKED_VIEWS]:
        with torch.inference_mode():
            expected = network(torch.from_numpy(to_input(view[None])).permute(0, 3, 1, 2)).main.argmax(dim=1)
        same = float((expected[0].numpy() == labels).mean())
        if same < LEAST_AGREEMENT:
            raise ModelError(f"{out}: labels agree with torch on {same:.4%} of a picture: not written")
    if keep_float:
        _save(model, out)
        return gate.judge(plain, plain, classes)
    small = tflite.quantize(tflite.convert(rounded(exported, views), (width, height)), views)
    verdict = gate.judge(plain, tflite.labels_of(small, views), classes)
    refused = [*verdict.refusals(thresholds), *tflite.edge_tpu_problems(small)]
    if refused and not force:
        raise ModelError(f"{out}: {'; '.join(refused)}: not written; --force overrules")
    _save(small, out)
    return verdict


def _save(model: bytes, path: Path) -> None:
    with atomic_write(path, INTACT) as partial:
        partial.write_bytes(model)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 2 for a user's mistake or a failed check, said in one line."""
    parser = argparse.ArgumentParser(prog="python -m edgeseg.zoo.build_tflite", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--size", required=True, help="WIDTHxHEIGHT of the input, multiples of 32")
    parser.add_argument("--frames", type=Path, required=True, help="pictures or a clip to calibrate on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--float", action="store_true", dest="keep_float")
    parser.add_argument("--force", action="store_true", help="write an int8 file that fails a check too")
    options = parser.parse_args(arguments)
    try:
        views = views_of(options.frames, size_of(options.size))
        network, classes = load_network(options.checkpoint)
        verdict = build(
            network,
            len(classes),
            views,
            options.out,
            gate.Thresholds(),
            keep_float=options.keep_float,
            force=options.force,
        )
    except EdgesegError as error:
        print(error, file=sys.stderr)
        return 2
    points = verdict.occupancy_mean
    print(f"{options.out}: agrees with float on {verdict.agreement:.2%}; zones differ by {points:.2f} points")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Make a model's ONNX artefacts from a checkpoint:
``python -m edgeseg.zoo.build BEST.pt --size 736x544 --frames DIR|CLIP --out DIR``.

Writes ``float.onnx`` (the deploy graph with float16 weights), ``int8.onnx`` (for CPUs) and
``figures.json``. Nothing stays that failed its check. The figures are of the frames it was calibrated on:
`edgeseg eval` judges on others.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import onnx_ir as ir
from torch import nn

from edgeseg.errors import EdgesegError, ModelError
from edgeseg.frames import U8
from edgeseg.system.atomic_files import INTACT, atomic_write
from edgeseg.zoo import agreement, export, gate, surgery
from edgeseg.zoo.networks.segformer import SegFormer
from edgeseg.zoo.onnx_session import Session
from edgeseg.zoo.quantize import quantize
from edgeseg.zoo.rounding import rounded
from edgeseg.zoo.sizes import size_of
from edgeseg.zoo.state import load_network
from edgeseg.zoo.views import views_of

CHECKED_VIEWS = 4
"""The torch network is slow, and two pictures at four sizes have always shown what was wrong."""


def build(
    checkpoint: Path, views: Sequence[U8], out: Path, thresholds: gate.Thresholds, *, force: bool = False
) -> gate.Verdict:
    """Export, check, quantize, judge. views: network inputs of one size, of the place of work.

    Raises ModelError if a check fails; a failed gate is overruled by ``force``.
    """
    network, classes = load_network(checkpoint)
    some = views[:: max(1, len(views) // CHECKED_VIEWS)][:CHECKED_VIEWS]
    graph = deploy_graph(network, some, str(checkpoint))
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        whole, grid, small = (Path(folder) / name for name in ("whole.onnx", "grid.onnx", "int8.onnx"))
        export.save_model(graph, whole)
        export.save_model(deploy_graph(rounded(network, views), some, str(checkpoint)), grid)
        quantize(grid, views, small)
        verdict = gate.judge(_labels(whole, views), _labels(small, views), len(classes))
        refused = verdict.refusals(thresholds)
        if refused and not force:
            raise ModelError(f"{out / 'int8.onnx'}: {'; '.join(refused)}: not installed; --force overrules")
        export.save_model(export.load_model(small), out / "int8.onnx")
    surgery.halve_weights(graph)
    export.save_model(graph, out / "float.onnx")
    figures = {"classes": classes, "views": len(views), "gate": asdict(verdict), "refusals": refused}
    with atomic_write(out / "figures.json", INTACT) as partial:
        partial.write_text(json.dumps(figures, indent=2) + "\n")
    return verdict


def deploy_graph(network: nn.Module, pictures: Sequence[U8], what: str) -> ir.Model:
    """The float deploy graph of one of our networks, checked against it on ``pictures``, uint8 (h, w, 3) RGB.

    what: whom to name where they disagree, which raises ModelError.
    """
    # The exporter sees SegFormer's merged head, the comparison below the original one.
    exported = network.merged() if isinstance(network, SegFormer) else network
    graph = export.to_onnx(exported)
    surgery.to_deploy(graph, surgery.Normalisation())
    agreement.require(agreement.compare(network, graph, pictures, surgery.Normalisation()), what)
    return graph


def _labels(graph: Path, views: Sequence[U8]) -> list[U8]:
    session = Session(graph)
    return [session.run(view[None])[surgery.LABELS][0].astype("uint8") for view in views]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 2 for a user's mistake or a failed check, said in one line."""
    parser = argparse.ArgumentParser(prog="python -m edgeseg.zoo.build", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--size", required=True, help="WIDTHxHEIGHT of the input, multiples of 32")
    parser.add_argument("--frames", type=Path, required=True, help="pictures or a clip to calibrate on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--force", action="store_true", help="write an int8 file that fails the gate too")
    options = parser.parse_args(arguments)
    try:
        views = views_of(options.frames, size_of(options.size))
        verdict = build(options.checkpoint, views, options.out, gate.Thresholds(), force=options.force)
    except EdgesegError as error:
        print(error, file=sys.stderr)
        return 2
    points = verdict.occupancy_mean
    print(
        f"int8 agrees with float on {verdict.agreement:.2%}; zones differ by {points:.2f} points on average"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Average the weights of several checkpoints of one run:
``python -m edgeseg.zoo.average A.pt B.pt... --out C.pt``.

The mean of a run's last averages lies nearer the middle of a flat valley than any of them (Izmailov et al.
2018, stochastic weight averaging).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from edgeseg.errors import EdgesegError, ModelError
from edgeseg.zoo import checkpoint


def average(paths: Sequence[Path]) -> dict[str, Any]:
    """A checkpoint whose weights are the mean of those of ``paths``; the rest is the last one's.

    Raises ModelError if they are not of one network and one list of classes.
    """
    stored = [checkpoint.load(path) for path in paths]
    last = stored[-1]
    for path, one in zip(paths, stored, strict=True):
        if (one["name"], one["classes"]) != (last["name"], last["classes"]):
            raise ModelError(f"{path}: another network or other classes than {paths[-1]}; average one run")
    mean: dict[str, torch.Tensor] = {}
    for name, value in last["network"].items():
        if value.is_floating_point():
            total = sum(one["network"][name].double() for one in stored)
            mean[name] = (total / len(stored)).to(value.dtype)
        else:
            mean[name] = value
    # Scores are those of none of them any more.
    return last | {"network": mean, "val_miou": None, "val_iou": None}


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 2 for a user's mistake, said in one line."""
    parser = argparse.ArgumentParser(prog="python -m edgeseg.zoo.average", description=__doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        checkpoint.save(options.out, average(options.checkpoints))
    except EdgesegError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.out}: the average of {len(options.checkpoints)} checkpoints")
    return 0


if __name__ == "__main__":
    sys.exit(main())

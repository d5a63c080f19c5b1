"""Bench plots: draw the measurements of ``edgeseg bench``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.tools import plotting
from edgeseg.tools.bench import compare, stages
from edgeseg.tools.bench.statistics import Figure

if TYPE_CHECKING:
    from edgeseg.tools.bench.scaling import Curve
    from edgeseg.tools.bench.sizes import Point

_MUTED = "0.75"


def overview(figures: Sequence[Figure], path: Path) -> None:
    """Draw, left: where each millisecond of a frame goes. Right: other ways of working beside edgeseg."""
    canvas = plotting.figure(11, 4.5)
    left, right = canvas.subplots(1, 2)
    _stages(left, figures)
    _comparison(right, figures)
    plotting.save(canvas, path)


def growth(curves: Sequence[Curve], path: Path) -> None:
    """Draw each curve on logarithmic axes, beside a line of slope 1."""
    columns = 3
    rows = -(-len(curves) // columns)
    canvas = plotting.figure(4 * columns, 3.4 * rows)
    axes = canvas.subplots(rows, columns, squeeze=False).ravel()
    for axis, curve in zip(axes, curves, strict=False):
        x, y = list(curve.costs), list(curve.costs.values())
        axis.loglog(x, y, marker="o", color="tab:blue")
        axis.loglog(x, [y[-1] * size / x[-1] for size in x], color=_MUTED, linestyle="--", label="linear")
        exponent = curve.figure.spread.median
        axis.set_title(f"{curve.name}\nexponent {exponent:.2f}", fontsize=10)
        axis.set(xlabel=curve.of, ylabel=curve.unit)
        axis.set_xticks(x, [str(size) for size in x])
        axis.minorticks_off()
        axis.legend(fontsize=8)
    for axis in axes[len(curves) :]:
        axis.set_visible(False)
    plotting.save(canvas, path)


def sizes(points: Sequence[Point], path: Path) -> None:
    """Draw mean IoU against CPU of one frame: a colour for each model, a line for each of its precisions."""
    canvas = plotting.figure(8, 5)
    from matplotlib.ticker import LogLocator, NullFormatter

    axis = canvas.add_subplot()
    models = list(dict.fromkeys(point.model for point in points))
    for name in dict.fromkeys((point.model, point.precision) for point in points):
        int8 = name[1] == "int8"
        own = sorted(
            (point for point in points if (point.model, point.precision) == name),
            key=lambda point: point.cpu_ms.median,
        )
        x, y = [point.cpu_ms.median for point in own], [point.mean_iou * 100 for point in own]
        style = {"color": f"C{models.index(name[0])}", "linestyle": "-" if int8 else ":"}
        axis.plot(x, y, marker="o" if int8 else ".", label=f"{name[0]} {name[1]}", **style)
        # The other precision's sizes are the same, one beside the other.
        for point, across, up in zip(own, x, y, strict=True) if int8 else ():
            label = f"{point.size_px[0]}x{point.size_px[1]}"
            axis.annotate(label, (across, up), textcoords="offset points", xytext=(4, -10), fontsize=7)
    axis.set(xlabel="CPU ms of one inference", ylabel="mean IoU, %", xscale="log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    plotting.save(canvas, path)


def _stages(axis: Any, figures: Sequence[Figure]) -> None:
    spent: dict[str, dict[str, float]] = {}
    for each in figures:
        model, _, stage = each.what.partition(": ")
        stage = stage.partition(" (")[0]
        if each.section == stages.SECTION and each.unit == "CPU ms" and stage in stages.ORDER:
            spent.setdefault(model, {})[stage] = each.spread.median
    for row, by_stage in enumerate(spent.values()):
        left, whole = 0.0, sum(by_stage.values())
        for number, stage in enumerate(stages.ORDER):
            width = by_stage.get(stage, 0.0) / whole * 100
            axis.barh(row, width, left=left, color=f"C{number}", label=stage if row == 0 else None)
            left += width
        axis.text(101, row, f"{whole:.1f} ms", va="center", fontsize=8)
    axis.set_yticks(range(len(spent)), list(spent), fontsize=8)
    axis.set(xlabel="share of a frame's CPU, %", xlim=(0, 118))
    if spent:
        axis.legend(fontsize=7, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.18))


def _comparison(axis: Any, figures: Sequence[Figure]) -> None:
    bars = [each for each in figures if each.section == compare.SECTION and each.unit == "x"]
    for row, each in enumerate(bars):
        spread = each.spread
        error = [[spread.median - spread.low], [spread.high - spread.median]]
        axis.barh(row, spread.median, xerr=error, color="tab:orange", capsize=3)
        if each.bar is not None:
            axis.plot([each.bar.limit] * 2, [row - 0.45, row + 0.45], color="black", linewidth=2)
    axis.set_yticks(range(len(bars)), [each.what.replace(": ", "\n") for each in bars], fontsize=7)
    axis.axvline(1.0, color=_MUTED)
    axis.set(xlabel="CPU of a frame, times ours (black: bar)")

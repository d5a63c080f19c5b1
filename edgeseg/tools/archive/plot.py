"""Archive plot: draws the page of one camera."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.tools import plotting

if TYPE_CHECKING:
    from edgeseg.tools.archive.page import Page

_ROW_INCHES, _WIDTH_INCHES = 2.6, 12.0
_GREY = "0.35"
_MISSING = "0.9"


def draw(page: Page, path: Path) -> None:
    """Draw the occupancy of each zone, where each class was in the view, and the alerts of each rule by day.

    Raises EdgesegError without matplotlib.
    """
    heat_rows = -(-max(len(page.shown), 1) // 3)
    rows = [*(1.0 for _ in page.hours), *(1.0 for _ in range(heat_rows)), 0.35 + 0.14 * len(page.rules)]
    figure = plotting.figure(_WIDTH_INCHES, _ROW_INCHES * sum(rows) + 0.6, "archive")
    figure.suptitle(page.title, fontsize=13)
    parts: Any = figure.subfigures(3, 1, height_ratios=[len(page.hours), heat_rows, rows[-1]])
    _occupancy(parts[0].subplots(len(page.hours), 1, squeeze=False)[:, 0], page)
    _heat(parts[1].subplots(heat_rows, 3, squeeze=False).ravel(), page)
    _alerts(parts[2].subplots(), page)
    plotting.save(figure, path)


def _occupancy(axes: Sequence[Any], page: Page) -> None:
    for axis, hours in zip(axes, page.hours, strict=True):
        bottom = np.zeros(len(hours.labels))
        for number, name in enumerate(page.shown):
            values = np.nan_to_num(hours.shares[name]) * 100
            axis.bar(hours.at, values, bottom=bottom, width=0.9, color=f"C{number}", label=name)
            bottom += values
        for at, known in zip(hours.at, hours.known, strict=True):
            if not known:
                axis.axvspan(at - 0.5, at + 0.5, color=_MISSING)
        axis.set_xticks(
            hours.at[:: max(1, len(hours.at) // 24)], hours.labels[:: max(1, len(hours.at) // 24)]
        )
        title = f"{hours.zone}: mean share of the zone, by {hours.by} (grey: nothing known)"
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_ylabel("%")
        axis.tick_params(labelsize=8)
        if page.shown:
            axis.legend(fontsize=8, ncols=len(page.shown), loc="upper right", frameon=False)
            axis.set_ylim(0, max(float(bottom.max()) * 1.25, 1.0))


def _heat(axes: Sequence[Any], page: Page) -> None:
    pictures = max(float(page.view.counts.sum(axis=0).max()), 1.0)
    extent = (0.0, page.aspect, 1.0, 0.0)
    for axis, name in zip(axes, page.shown, strict=False):
        share = page.view.counts[page.view.classes.index(name)] / pictures * 100
        if page.view.picture is not None:
            axis.imshow(page.view.picture.mean(axis=2), cmap="gray", extent=extent, vmin=-60, vmax=330)
        # What is hardly ever there leaves the view to be seen.
        strength = np.clip(share / max(share.max(), 1e-9) * 1.5, 0.0, 0.8)
        image = axis.imshow(
            share, cmap="inferno", extent=extent, alpha=strength, interpolation="bilinear", vmin=0.0
        )
        axis.figure.colorbar(image, ax=axis, shrink=0.8).ax.tick_params(labelsize=7)
        axis.set_title(f"{name}: % of {pictures:.0f} pictures", fontsize=10, loc="left")
    for axis in axes:
        axis.set_axis_off()


def _alerts(axis: Any, page: Page) -> None:
    axis.set_title(page.alerts_title, fontsize=10, loc="left")
    for row, (_, spans) in enumerate(page.rules.items()):
        for began, seconds in spans:
            # As wide as a hair at least: an alert of seconds in a month is one, too.
            axis.barh(
                row,
                seconds / 86_400,
                left=began,
                height=0.5,
                color="tab:red",
                linewidth=1,
                edgecolor="tab:red",
            )
    axis.set_yticks(range(len(page.rules)), list(page.rules), fontsize=8)
    axis.set_ylim(-0.6, max(len(page.rules), 1) - 0.4)
    axis.invert_yaxis()
    axis.xaxis_date()
    # Room for what begins with the first picture.
    room = 0.01 * (page.span[1] - page.span[0])
    axis.set_xlim(page.span[0] - room, page.span[1] + room)
    axis.tick_params(labelsize=8, colors=_GREY)
    axis.grid(axis="x", alpha=0.3)

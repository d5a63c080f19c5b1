"""Start times: when a recording began, by its file name, its container or its file's time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import PurePosixPath
from typing import Literal

from edgeseg.errors import EdgesegError
from edgeseg.tools.archive.plan import SegmentPlan

TimeSource = Literal["name", "container", "file"]
SOURCE_TEXTS = {"name": "file names", "container": "the containers", "file": "when the files were written"}
# What recorders write, the more telling first.
USUAL_NAMES = (
    "%Y-%m-%d_%H-%M-%S",
    "%Y-%m-%dT%H-%M-%S",
    "%Y-%m-%d-%H-%M-%S",
    "%Y-%m-%d %H-%M-%S",
    "%Y%m%d_%H%M%S",
    "%Y%m%d-%H%M%S",
    "%Y%m%dT%H%M%S",
    "%Y%m%d%H%M%S",
)
_FIELDS = {
    "Y": r"\d{4}", "y": r"\d{2}", "m": r"\d{2}", "d": r"\d{2}", "H": r"\d{2}", "M": r"\d{2}", "S": r"\d{2}",
    "j": r"\d{3}", "f": r"\d{1,6}", "z": r"[+-]\d{4}", "%": "%",
}  # fmt: skip
_EPOCH = "%s"


@dataclass(frozen=True, slots=True)
class Beginning:
    """utc_s: of the first picture. source: of the time."""

    utc_s: float
    source: TimeSource


def beginning(name: str, plan: SegmentPlan, patterns: Sequence[str], zone: tzinfo) -> Beginning:
    """patterns: of file names, as strptime has them; the first that is found counts. zone: of those names.

    A file is written when its recording ends: without any other telling it began so much earlier.
    """
    for pattern in patterns:
        utc_s = _in_name(PurePosixPath(name).name, pattern, zone)
        if utc_s is not None:
            return Beginning(utc_s, "name")
    if plan.created_at_s is not None:
        return Beginning(plan.created_at_s, "container")
    return Beginning(plan.mtime_ns / 1e9 - plan.duration_s, "file")


def check_pattern(pattern: str) -> None:
    """Raises EdgesegError where a pattern has fields that are not known, or does not give a full time."""
    fields = re.findall(r"%(.)", pattern)
    known = {*_FIELDS, "s"}
    if wrong := [field for field in fields if field not in known]:
        raise EdgesegError(
            f"--names {pattern}: %{wrong[0]} is not known; expected %{', %'.join(sorted(known))}"
        )
    if "s" not in fields and not {"Y", "m", "d", "H", "M"} <= set(fields):
        raise EdgesegError(f"--names {pattern}: gives no full time; expected e.g. {USUAL_NAMES[0]}, or %s")


def _in_name(file: str, pattern: str, zone: tzinfo) -> float | None:
    if _EPOCH in pattern:
        before, _, after = pattern.partition(_EPOCH)
        found = re.search(re.escape(before) + r"(?<!\d)(\d{9,10}(?:\.\d+)?)" + re.escape(after), file)
        return float(found[1]) if found else None
    parts = re.split(r"%(.)", pattern)
    # Not in the middle of a longer number.
    expression = r"(?<!\d)" + "".join(
        _FIELDS[part] if index % 2 else re.escape(part) for index, part in enumerate(parts)
    )
    for found in re.finditer(expression + r"(?!\d)", file):
        try:
            moment = datetime.strptime(found[0], pattern)
        except ValueError:
            continue
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC).timestamp()
    return None

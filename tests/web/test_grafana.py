"""The Grafana dashboard asks for metrics and labels that there are."""

from __future__ import annotations

import json
import re
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from edgeseg.clock import ManualClock
from edgeseg.events import Alert, CameraStatus, NodeStats, RuleState, ZoneOccupancy
from edgeseg.frames import FrameTime
from edgeseg.web.latest import LatestValues
from edgeseg.web.metrics import CameraFacts, Facts, Metrics
from tests.conftest import ROOT

DASHBOARD = ROOT / "docs" / "examples" / "grafana.json"
_SELECTOR = re.compile(r"(edgeseg_\w+)\{([^}]*)\}")
# Prometheus adds it to whatever it scrapes.
_OF_SCRAPE = {"instance"}


def exposed() -> dict[str, set[str]]:
    """Metric name -> labels, of a node on which everything there is has happened."""
    clock, board, time = ManualClock(utc_s=1e9), LatestValues(), FrameTime(0.0, 1e9)
    stats = NodeStats(
        at_s=1e9,
        uptime_s=1.0,
        analysed={"yard": 3},
        dropped={"yard": {"gated": 2}},
        reconnects={"yard": 1},
        outbox_waiting=0,
        outbox_dropped=0,
    )
    camera = CameraFacts("yard", 0.1, "m", "onnxruntime", (64, 48), 5.0, 5.0, gated=True)
    metrics = Metrics(lambda: Facts(stats, connected=True, stuck=0, cameras=(camera,)), board, clock)
    occupancy = ZoneOccupancy("yard", "bay", 1, time, "ok", None, {"car": 0.5}, 0.0, "car", None, "m", None)
    alert = Alert(
        id="1",
        seq=0,
        event="new",
        rule="r",
        kind="occupied",
        camera="yard",
        zone="bay",
        began_at_s=1e9,
        at_s=1e9,
        ended_at_s=None,
        before=None,
        after=None,
        dominant_before=None,
        dominant_after=None,
        evidence=None,
        end_reason=None,
    )
    status = CameraStatus("yard", "live", None, 1e9, 5.0, 0.1)
    for event in (status, occupancy, RuleState("yard", "bay", "r", "ON", time), alert):
        board.send(event)
        metrics.send(event)
    lap = metrics.start_timer("yard", 0.0)
    lap("infer")
    lap("publish")
    return {
        sample.name: {*sample.labels, *_OF_SCRAPE}
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def queries(node: Any) -> list[str]:
    if isinstance(node, dict):
        found = [node["expr"]] if isinstance(node.get("expr"), str) else []
        return found + [one for value in node.values() for one in queries(value)]
    return [one for value in node for one in queries(value)] if isinstance(node, list) else []


def test_every_query_names_metrics_and_labels_that_there_are() -> None:
    dashboard, known = json.loads(DASHBOARD.read_text()), exposed()
    asked = queries(dashboard["panels"])
    assert len(asked) >= 16
    for query in asked:
        named = _SELECTOR.findall(query)
        assert len(named) == query.count("edgeseg_"), f"a metric without a selector: {query}"
        for name, selector in named:
            assert name in known, query
            labels = {part.partition("=")[0].rstrip("!") for part in selector.split(",")}
            grouped = {
                label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")
            }
            assert labels | grouped <= known[name], query
    for variable in dashboard["templating"]["list"][1:]:
        name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
        assert label in known[name]


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells

"""Two real brokers, bridged as docs/examples/fleet/bridge.conf says: what a device says reaches the site."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from edgeseg.clock import SystemClock
from edgeseg.publish.base import Command
from edgeseg.publish.mqtt.outbox import Outbox
from edgeseg.publish.mqtt.publisher import MqttPublisher
from edgeseg.publish.topics import Topics
from edgeseg.settings import MqttSettings
from tests.conftest import ROOT
from tests.support.broker import Broker, Received, Subscriber, wait_until
from tests.support.publish_events import alert, occupancy, status

EXAMPLE = ROOT / "docs" / "examples" / "fleet" / "bridge.conf"


def bridge(site: Broker, folder: Path) -> str:
    """The example for two brokers of this machine: other addresses, and no TLS between them."""
    folder.mkdir()
    elsewhere = {
        "persistence_location": f"persistence_location {folder}/",
        "address": f"address 127.0.0.1:{site.port}",
        "bridge_cafile": "",
        "remote_username": "",
        "remote_password": "",
        # Whoever listens at the site is there again first.
        "restart_timeout": "restart_timeout 5",
    }
    lines = EXAMPLE.read_text().splitlines()
    found = {line.split()[0] for line in lines if line and not line.startswith("#")}
    assert elsewhere.keys() <= found
    return "\n".join(elsewhere.get(line.split()[0], line) if line else "" for line in lines)


def alerts(messages: list[Received]) -> list[str]:
    return [json.loads(one.payload)["id"] for one in messages if one.topic == "edgeseg/gatehouse/alert"]


def test_an_alert_arrives_at_the_site_once_and_a_command_comes_back(tmp_path: Path) -> None:
    clock, commands = SystemClock(), list[Command]()
    for name in ("site", "device"):
        (tmp_path / name).mkdir()
    with Broker(tmp_path / "site") as site:
        extra = bridge(site, tmp_path / "kept")
        with Broker(tmp_path / "device", extra=extra) as device, Subscriber(site.port) as watching:
            publisher = MqttPublisher(
                MqttSettings("127.0.0.1", device.port, False, None, None, None, None, "edgeseg"),
                Topics("edgeseg", "gatehouse", boot="b1", clock=clock),
                Outbox(tmp_path / "outbox.sqlite", clock),
                clock,
                on_command=commands.append,
            )
            with publisher:
                publisher.send(status())
                publisher.send(occupancy())
                publisher.send(alert(id_="first"))
                watching.wait_for(lambda all_: alerts(all_) == ["first"], "the first alert at the site")
                watching.wait_for(
                    lambda all_: [one for one in all_ if one.topic.endswith("gate/occupancy")],
                    "the occupancy at the site",
                )
                site.stop()
                for number in range(5):
                    publisher.send(replace(alert(id_=f"away-{number}"), seq=0))
                wait_until(lambda: publisher.counts.delivered == 6, "the device's broker took them")
                site.start()
                watching.wait_for(lambda all_: len(alerts(all_)) >= 6, "what the site missed")
                publisher.send(alert(id_="last"))
                watching.wait_for(lambda all_: "last" in alerts(all_), "the last alert")
                assert alerts(watching.messages) == ["first", *(f"away-{n}" for n in range(5)), "last"]
                watching.publish("edgeseg/gatehouse/yard/set/rate", b"2")
                wait_until(lambda: commands, "the site's command")
                assert commands == [Command("yard", "rate", 2.0)]

"""A real Home Assistant without its frontend, driven through standard input, in an environment of its own.

    python tests/support/homeassistant_core.py CONFIG_FOLDER BROKER_PORT

Reads one JSON object a line and answers with one: {"do": "entities"}, {"do": "devices"}, {"do": "call",
"domain", "service", "data"}, {"do": "automation", "text"}, {"do": "notifications"}, {"do": "log"}. Ends
at the end of its input.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from pathlib import Path
from typing import Any

from homeassistant import auth, bootstrap, config_entries, core, loader
from homeassistant.components import automation, persistent_notification
from homeassistant.helpers import device_registry, entity_registry
from homeassistant.setup import async_setup_component
from homeassistant.util import yaml


class Complaints(logging.Handler):
    """What Home Assistant warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        failure = f": {record.exc_info[1]!r}" if record.exc_info else ""
        self.lines.append(f"{record.name}: {record.getMessage()}{failure}")


async def started(folder: str, broker_port: int) -> core.HomeAssistant:
    # Parts of it read the file again.
    Path(folder, "configuration.yaml").touch()
    hass = core.HomeAssistant(folder)
    loader.async_setup(hass)
    hass.config.skip_pip = True
    hass.config_entries = config_entries.ConfigEntries(hass, {})
    await bootstrap.async_load_base_functionality(hass)
    hass.auth = await auth.auth_manager_from_config(hass, [], [])
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    http = {"server_host": ["127.0.0.1"], "server_port": port}
    for component, config in (("homeassistant", {}), ("persistent_notification", {}), ("http", http)):
        assert await async_setup_component(hass, component, {component: config}), component
    await hass.async_start()
    if hass.config_entries.async_entries("mqtt"):
        assert await async_setup_component(hass, "mqtt", {})
    else:
        # As a person does it.
        flow = await hass.config_entries.flow.async_init("mqtt", context={"source": "user"})
        broker = {"broker": "127.0.0.1", "port": broker_port}
        # On a busy machine its own patience of 5 s may not do.
        for _ in range(6):
            flow = await hass.config_entries.flow.async_configure(flow["flow_id"], broker)
            if flow["type"] == "create_entry":
                break
        else:
            raise RuntimeError(flow)
    await hass.async_block_till_done()
    return hass


async def answer(hass: core.HomeAssistant, complaints: Complaints, question: dict[str, Any]) -> object:
    await hass.async_block_till_done()
    match question["do"]:
        case "entities":
            return entities(hass)
        case "devices":
            return [device.name for device in device_registry.async_get(hass).devices.values()]
        case "call":
            await hass.services.async_call(
                question["domain"], question["service"], question["data"], blocking=True
            )
            return None
        case "automation":
            rules = yaml.parse_yaml(question["text"])
            return bool(await async_setup_component(hass, automation.DOMAIN, {automation.DOMAIN: rules}))
        case "notifications":
            kept = hass.data.get(persistent_notification.DOMAIN, {})
            return {name: one["message"] for name, one in kept.items()}
        case "log":
            return complaints.lines
    raise ValueError(question)


def entities(hass: core.HomeAssistant) -> dict[str, Any]:
    """unique id -> what Home Assistant knows."""
    found = {}
    for entry in entity_registry.async_get(hass).entities.values():
        state = hass.states.get(entry.entity_id)
        found[entry.unique_id] = {
            "entity_id": entry.entity_id,
            "disabled": entry.disabled,
            "state": None if state is None else state.state,
            "attributes": {}
            if state is None
            else json.loads(json.dumps(dict(state.attributes), default=str)),
        }
    return found


async def main(folder: str, broker_port: int) -> None:
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    hass = await started(folder, broker_port)
    print(json.dumps("started"), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await answer(hass, complaints, json.loads(line))), flush=True)
    await hass.async_stop(force=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))

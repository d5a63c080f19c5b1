"""Broker checks: the daemon can connect, and may publish and subscribe to all that it needs."""

from __future__ import annotations

import itertools
import re
import socket
import ssl
import threading
from collections.abc import Iterator

from edgeseg.clock import Clock
from edgeseg.models.model import Model
from edgeseg.publish.homeassistant.discovery import device_id
from edgeseg.publish.mqtt.access_check import Verdict, ask, reach
from edgeseg.publish.topics import TABLE
from edgeseg.settings import CameraSettings, MqttSettings, PipelineSettings
from edgeseg.tools.doctor.finding import Finding

LIMIT_S = 40.0
_ASK_S = 25.0
# Of many zones and classes the rest is like these.
_MOST_TOPICS = 2000
_SOON_DAYS = 14
_PLACEHOLDER = re.compile(r"{(\w+)}")


def topics_of(settings: PipelineSettings, models: dict[str, Model]) -> list[str]:
    """Every topic that this file's daemon publishes to. models: by name, those of its cameras.

    Of Home Assistant's discovery one beside the node's own, which no camera has, for names have no capitals:
    an empty message on a device's own topic would take the device away.
    """
    assert settings.mqtt is not None
    base = f"{settings.mqtt.prefix}/{settings.node}"
    found: dict[str, None] = {}
    for topic in TABLE:
        names = _PLACEHOLDER.findall(topic.template)
        cameras = settings.cameras if "camera" in names else settings.cameras[:1]
        for camera in cameras:
            for values in _values(camera, names, models[camera.model], settings):
                found[f"{base}/{topic.template.format(**values)}"] = None
    topics = list(itertools.islice(found, _MOST_TOPICS))
    if settings.homeassistant is not None:
        topics.append(f"{settings.homeassistant.prefix}/device/{device_id(base)}/DOCTOR/config")
    return topics


def _values(
    camera: CameraSettings, names: list[str], model: Model, settings: PipelineSettings
) -> Iterator[dict[str, str]]:
    """Whatever may stand for a topic's placeholders, of one camera."""
    if "zone" not in names:
        yield {"camera": camera.name}
        return
    for zone in camera.zones:
        at = {"camera": camera.name, "zone": zone.name}
        if "rule" in names:
            yield from ({**at, "rule": rule.name} for rule in zone.rules)
        elif "class" in names:
            yield from ({**at, "class": name} for name in (*model.classes, *settings.groups))
        else:
            yield at


def check(
    settings: PipelineSettings, models: dict[str, Model], clock: Clock, stop: threading.Event
) -> Iterator[Finding]:
    """TCP, TLS, login, then each topic and the commands. The settings' password was filled in."""
    mqtt = settings.mqtt
    assert mqtt is not None
    where = f"{mqtt.host}:{mqtt.port}"
    try:
        way = reach(mqtt)
    except OSError as error:
        yield _unreachable(mqtt, where, error)
        return
    yield Finding("reach", "ok", f"{where} takes connections{', with TLS' if mqtt.tls else ''}")
    if way.expires_utc_s is not None:
        days = (way.expires_utc_s - clock.utc_s()) / 86_400
        if days < _SOON_DAYS:
            yield Finding(
                "certificate",
                "problem",
                f"the broker's certificate ends in {days:.0f} days",
                "renew it at the broker",
            )
    topics = topics_of(settings, models)
    verdict = ask(mqtt, f"{mqtt.prefix}/{settings.node}", topics, _ASK_S, clock, stop)
    yield from _judged(verdict, mqtt, f"{mqtt.prefix}/{settings.node}", len(topics))


def _unreachable(mqtt: MqttSettings, where: str, error: OSError) -> Finding:
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"{where}: its certificate is not accepted: {error.verify_message}"
        mend = "name the authority that signed it in mqtt.ca_file, and the host as the certificate has it"
        return Finding("TLS", "problem", text, mend)
    if isinstance(error, ssl.SSLError) or (mqtt.tls and isinstance(error, ConnectionResetError)):
        return Finding(
            "TLS",
            "problem",
            f"{where}: speaks no TLS on this port",
            "use mqtt://, or its TLS port (usually 8883)",
        )
    if isinstance(error, socket.gaierror):
        return Finding(
            "reach", "problem", f"{mqtt.host}: no such host", f"check mqtt.url; getent hosts {mqtt.host}"
        )
    if isinstance(error, ConnectionRefusedError):
        return Finding(
            "reach",
            "problem",
            f"{where}: no broker listens there",
            "start the broker there: sudo systemctl start mosquitto; or check mqtt.url",
        )
    return Finding(
        "reach",
        "problem",
        f"{where}: {error.strerror or 'no answer'}",
        f"check mqtt.url and the network: ping {mqtt.host}",
    )


def _judged(verdict: Verdict, mqtt: MqttSettings, base: str, count: int) -> Iterator[Finding]:
    if verdict.version is None:
        yield _no_login(str(verdict.trouble))
        return
    who = f"as {mqtt.username}" if mqtt.username else "without a login"
    yield Finding("login", "ok", f"accepted {who}, MQTT {verdict.version}")
    yield _publishing(verdict, mqtt, base, count)
    if mqtt.commands:
        yield _commands(verdict, mqtt, base)


def _no_login(trouble: str) -> Finding:
    if "does not answer" in trouble or "hangs up" in trouble:
        mend = "use mqtts:// where the port speaks TLS; else sudo systemctl restart mosquitto"
        return Finding("login", "problem", trouble, mend)
    mend = "check mqtt.username and what mqtt.password_file holds, and the broker's log"
    return Finding("login", "problem", f"refused: {trouble}", mend)


def _publishing(verdict: Verdict, mqtt: MqttSettings, base: str, count: int) -> Finding:
    if verdict.version != "5":
        text = "MQTT 3.1.1 does not report a refusal, so the access list cannot be checked"
        return Finding("publish", "skipped", text)
    if verdict.refused:
        topic, why = next(iter(verdict.refused.items()))
        text = f"{len(verdict.refused)} of {count} topics are refused, {topic} among them ({why})"
        above = f"{base}/#" if topic.startswith(base) else f"{topic.partition('/device/')[0]}/device/#"
        mend = f"let user {_user(mqtt)} `topic write {above}` in the broker's access list"
        return Finding("publish", "problem", text, mend)
    if verdict.unanswered:
        text = f"no answer for {len(verdict.unanswered)} of {count} topics"
        return Finding("publish", "problem", text, "look at the broker's log")
    return Finding("publish", "ok", f"all {count} topics are allowed, {base}/status and on")


def _commands(verdict: Verdict, mqtt: MqttSettings, base: str) -> Finding:
    topics = f"{base}/+/set/+"
    if verdict.commands is not None:
        text = f"the subscription to {topics} is refused ({verdict.commands})"
        mend = f"let user {_user(mqtt)} `topic read {topics}`, or write commands: off"
        return Finding("commands", "problem", text, mend)
    text = f"subscribed to {topics}; mosquitto's access-list files grant that always, and may deliver nothing"
    return Finding("commands", "ok", text)


def _user(mqtt: MqttSettings) -> str:
    return mqtt.username or "(anonymous)"

"""The web server of a running daemon: real clips, a tiny network, real HTTP."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest
from jsonschema import Draft202012Validator

from edgeseg.web.routes import ROUTES
from tests.support.broker import free_port, wait_until
from tests.support.daemon import Daemon
from tests.support.web_client import Reply, WebClient, web_pipeline, write_pacing_clip

YARD = "/api/v1/cameras/yard"
TRIANGLE = [[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]


class Site:
    """A daemon, its file, and a client."""

    def __init__(self, daemon: Daemon, client: WebClient) -> None:
        self.daemon = daemon
        self.client = client

    @property
    def file(self) -> Path:
        return self.daemon.pipeline

    def etag(self) -> str:
        return self.client.get(f"{YARD}/zones").headers["etag"]


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pacing_clip(tmp_path_factory.mktemp("long") / "long.mp4")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, long_clip: Path) -> Iterator[Site]:
    client = WebClient(free_port())
    file = web_pipeline(tmp_path_factory.mktemp("web"), long_clip, client.port)
    with Daemon(file) as daemon:
        wait_until(client.ready, "readiness")
        yield Site(daemon, client)
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.log


def test_every_answer_has_the_shape_that_is_described(site: Site) -> None:
    document = site.client.get("/openapi.json").json
    names = {"camera": "yard", "zone": "right"}
    asked = 0
    for route in ROUTES:
        # What is kept of alerts, test_evidence_daemon asks for.
        if route.method != "GET" or route.handler is None or "{alert}" in route.path:
            continue
        reply = site.client.get(route.path.format(**names))
        assert reply.status == route.status, route.path
        (kind,) = document["paths"][route.path]["get"]["responses"][str(route.status)]["content"]
        assert reply.headers["content-type"].startswith(kind)
        schema = document["paths"][route.path]["get"]["responses"]["200"]["content"][kind].get("schema")
        if schema is not None:
            Draft202012Validator({**document, **schema}).validate(reply.json)
            asked += 1
    assert asked >= 9
    refused = site.client.get("/api/v1/cameras/nobody")
    Draft202012Validator({**document, "$ref": "#/components/schemas/ErrorShape"}).validate(refused.json)
    assert (refused.status, refused.json["error"]) == (404, "no camera 'nobody'")


def test_pictures_move_and_say_what_they_are(site: Site) -> None:
    first = site.client.get(f"{YARD}/picture.jpg")
    picture = cv2.imdecode(np.frombuffer(first.body, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (48, 64, 3)
    wait_until(
        lambda: site.client.get(f"{YARD}/picture.jpg").headers["etag"] != first.headers["etag"],
        "another picture",
    )
    drawn = site.client.get(f"{YARD}/picture.jpg?overlay=classes")
    assert drawn.headers["content-type"] == "image/jpeg"
    labels = cv2.imdecode(
        np.frombuffer(site.client.get(f"{YARD}/labels.png").body, np.uint8), cv2.IMREAD_COLOR
    )
    assert labels is not None
    assert labels.shape[0] / labels.shape[1] == pytest.approx(48 / 64)
    assert site.client.get(f"{YARD}/picture.jpg?overlay=people").status == 400


def test_a_stream_of_pictures(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.client.port, timeout=120)
    connection.request("GET", f"{YARD}/stream.mjpeg")
    answer = connection.getresponse()
    assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=edgeseg-picture"
    bodies = []
    while len(bodies) < 3:
        assert answer.readline() == b"--edgeseg-picture\r\n"
        assert answer.readline() == b"Content-Type: image/jpeg\r\n"
        length = int(answer.readline().partition(b":")[2])
        answer.readline()
        bodies.append(answer.read(length))
        answer.readline()
    assert all(body.startswith(b"\xff\xd8") and body.endswith(b"\xff\xd9") for body in bodies)
    assert len(set(bodies)) > 1
    connection.close()


def test_events_arrive_while_somebody_listens(site: Site) -> None:
    async def listen() -> dict[str, list[Any]]:
        heard: dict[str, list[Any]] = {}
        url = f"http://127.0.0.1:{site.client.port}/api/v1/live"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            await socket.send_str("no JSON")
            await socket.send_json({"watch": ["yard", "nobody"]})
            await socket.send_json({"watch": ["yard"]})
            while not {"hello", "occupancy", "picture"} <= heard.keys() or len(heard["picture"]) < 3:
                message = await asyncio.wait_for(socket.receive_json(), 20)
                heard.setdefault(message["type"], []).append(message)
        return heard

    heard = asyncio.run(listen())
    assert heard["hello"][0]["node"] == "test"
    assert heard["occupancy"][0]["data"]["zone"] == "right"
    versions = [message["version"] for message in heard["picture"]]
    assert versions == sorted(set(versions))


def test_what_a_draft_covers(site: Site) -> None:
    whole = site.client.ask("POST", f"{YARD}/measure", {"polygon": [[[0, 0], [1, 0], [1, 1], [0, 1]]]})
    assert whole.status == 200
    assert sum(whole.json["coverage"].values()) == pytest.approx(1.0, abs=1e-3)
    bad = site.client.ask(
        "POST", f"{YARD}/measure", {"polygon": [[[0, 0], [2, 0]], [[0, 0], [1, 1], [1, 0]]]}
    )
    assert bad.status == 422
    assert bad.json["problems"][0]["where"].startswith("polygon[0]")
    bow = site.client.ask("POST", f"{YARD}/measure", {"polygon": [[[0, 0], [1, 1], [1, 0], [0, 1]]]})
    assert bow.status == 422
    assert site.client.ask("POST", f"{YARD}/measure", b"{").status == 400


def test_commands(site: Site) -> None:
    gate = "/api/v1/cameras/gate"
    assert site.client.ask("POST", f"{gate}/rate", {"rate": 2}).status == 202
    wait_until(lambda: site.client.get(gate).json["rate"] == 2, "the rate")
    assert site.client.ask("POST", f"{gate}/rate", {"rate": 0}).status == 400
    assert site.client.ask("POST", f"{gate}/enabled", {"enabled": False}).status == 202
    wait_until(lambda: site.client.get(gate).json["status"]["state"] == "disabled", "switched off")
    assert not site.client.get(gate).json["enabled"]
    assert site.client.ask("POST", f"{gate}/enabled", {"enabled": "no"}).status == 400
    refused = site.client.get(f"{gate}/picture.jpg")
    assert (refused.status, refused.json["error"]) == (503, "camera gate: no picture, it is disabled")
    assert site.client.ask("POST", f"{gate}/enabled", {"enabled": True}).status == 202
    wait_until(lambda: site.client.get(gate).json["status"]["state"] == "live", "live again")


def test_a_zone_is_saved_and_comes_into_force_and_the_other_camera_notices_nothing(site: Site) -> None:
    before, tag = site.file.read_text(), site.etag()
    told = len(site.daemon.messages("test/gate/status"))
    zone = {"name": "New one", "polygon": TRIANGLE, "rules": {"seen": {"occupied": ["red"], "enter": "5 %"}}}
    saved = site.client.ask("PUT", f"{YARD}/zones/new", zone, If_Match=tag)
    assert saved.status == 200, saved.json
    after = site.file.read_text()
    assert [line for line in before.splitlines() if line not in after.splitlines()] == []
    assert "# the right half" in after
    assert (site.file.parent / saved.json["kept"]).read_text() == before
    assert saved.headers["etag"] == site.etag() == f'"{saved.json["digest"]}"'
    wait_until(lambda: site.client.get("/api/v1/node").json["digest"] == saved.json["digest"], "in force")
    wait_until(lambda: site.daemon.messages("test/yard/zone/new/occupancy"), "its occupancy is published")
    states = [status["state"] for status in site.daemon.messages("test/gate/status")[told:]]
    assert set(states) <= {"live"}

    late = site.client.ask("PUT", f"{YARD}/zones/new", zone, If_Match=tag)
    assert late.status == 412
    assert site.client.ask("PUT", f"{YARD}/zones/new", zone).status == 428
    assert site.client.ask("PUT", f"{YARD}/zones/new", zone, If_Match="*").status == 400
    assert site.file.read_text() == after

    gone = site.client.ask("DELETE", f"{YARD}/zones/new", If_Match=site.etag())
    assert gone.status == 200
    assert site.file.read_text() == before
    wait_until(lambda: len(site.client.get(YARD).json["zones"]) == 1, "the zone is gone")


def test_all_mistakes_of_a_zone_at_once_and_nothing_is_written(site: Site) -> None:
    before = site.file.read_text()
    rules = {"seen": {"occupied": ["rde"], "enter": "much", "hours": "22:00"}}
    zone = {"polygon": [[0, 0], [1, 0]], "rules": rules, "nmae": "x"}
    refused = site.client.ask("PUT", f"{YARD}/zones/Bad Name".replace(" ", "%20"), zone, If_Match=site.etag())
    assert refused.status == 422
    said = {problem["where"]: problem["message"] for problem in refused.json["problems"]}
    at = "cameras.yard.zones.Bad Name"
    assert said[f"{at}.polygon"] == "2 points, need at least 3"
    assert "did you mean 'name'" in said[f"{at}.nmae"]
    assert "did you mean 'red'" in said[f"{at}.rules.seen.occupied[0]"]
    assert f"{at}.rules.seen.enter" in said
    assert site.file.read_text() == before
    for body in (b"", b"[]", b"{", b'{"polygon": NaN}', b'{"polygon": "\\ud800"}', b"[" * 5000):
        assert site.client.ask("PUT", f"{YARD}/zones/x", body, If_Match=site.etag()).status == 400
    assert site.client.ask("PUT", f"{YARD}/zones/x", {"name": "y"}, If_Match=site.etag()).status == 422


def test_a_rule_is_tried_on_what_was_recorded(site: Site) -> None:
    def tried(rule: dict[str, object]) -> Reply:
        return site.client.ask("POST", f"{YARD}/try-rule", {"zone": "right", "rule": rule})

    wait_until(lambda: tried({"occupied": ["red"]}).json["observations"] >= 3, "some seconds of record")
    always = {"occupied": ["background"], "enter": "1 %", "leave": "0.5 %", "for": "1 s"}
    answer = tried(always)
    assert answer.status == 200
    assert answer.json["alerts"][0]["event"] == "new"
    assert answer.json["alerts"][0]["zone"] == "right"
    assert tried({"occupied": ["red"], "enter": "100 %"}).json["alerts"] == []
    wrong = tried({"occupied": ["rde"]})
    assert wrong.status == 422
    assert "did you mean 'red'" in wrong.json["problems"][0]["message"]
    nowhere = site.client.ask("POST", f"{YARD}/try-rule", {"zone": "left", "rule": always})
    assert nowhere.status == 404


def test_the_page_asks_nobody_else(site: Site) -> None:
    page = site.client.get("/")
    assert page.status == 200
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert site.client.get("/", If_None_Match=page.headers["etag"]).status == 304
    for path in ("/static/../server.py", "/static/%2e%2e%2fserver.py", "/static/nothing.js"):
        assert site.client.get(path).status == 404


def test_strangers_are_refused(site: Site) -> None:
    assert site.client.get("/api/v1/node", Host="evil.example.net").status == 403
    foreign = "http://evil.example.net"
    for path in (f"{YARD}/enabled", "/api/v1/login"):
        assert site.client.ask("POST", path, {"enabled": False}, Origin=foreign).status == 403
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Origin": foreign}
    assert site.client.ask("GET", "/api/v1/live", None, **upgrade).status == 403
    assert site.client.get(YARD).json["enabled"]


def test_what_is_no_http_does_not_fill_the_log(site: Site) -> None:
    before = site.daemon.log
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", site.client.port), timeout=120) as raw:
            raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Null: \x00\r\n\r\n")
            assert raw.recv(64).startswith(b"HTTP/1.0 400 ")
    assert site.client.get("/healthz").status == 200
    assert site.daemon.log == before


def test_metrics_tell_of_every_stage(site: Site) -> None:
    text = site.client.get("/metrics").body.decode()
    for stage in ("infer", "postprocess", "zones", "rules", "publish"):
        assert f'edgeseg_stage_seconds_count{{camera="yard",stage="{stage}"}}' in text
    assert 'edgeseg_engine_info{camera="yard",engine="onnxruntime",input="64x48",model="tiny"} 1.0' in text
    assert 'edgeseg_zone_coverage_ratio{camera="yard",class="red",zone="right"}' in text


def test_history_and_alerts_survive_a_restart(tmp_path: Path, tiny_clip: Path) -> None:
    client = WebClient(free_port(), token="0123456789abcdef")
    (tmp_path / "token").write_text(client.token)
    file = web_pipeline(tmp_path, tiny_clip, client.port, web=", token_file: token")
    environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with Daemon(file, environment) as first:
        assert first.process.wait(240) == 0
        (alert,) = first.messages("test/alert")
    text = file.read_text().replace(str(tiny_clip), "rtsp://127.0.0.1:9/x")
    file.write_text(text)
    with Daemon(file, environment) as second:
        wait_until(lambda: "connecting" in second.log, "the start")
        assert WebClient(client.port).get("/api/v1/alerts").status == 401
        assert client.get("/readyz").status == 503
        assert client.get("/readyz").json["reasons"]
        assert WebClient(client.port).get("/readyz").json == {"ok": False, "reasons": []}
        assert WebClient(client.port).get("/healthz").status == 200
        (kept,) = client.get("/api/v1/alerts").json["alerts"]
        assert kept["id"] == alert["id"]
        (step,) = client.get(f"{YARD}/zones/right/history?resolution=15m").json["steps"][:1]
        assert step["known_s"] > 1
        assert step["classes"]["red"]["max"] > 0

        login = WebClient(client.port).ask("POST", "/api/v1/login", {"token": client.token})
        cookie = login.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        with_cookie = WebClient(client.port).get("/api/v1/node", Cookie=cookie.partition(";")[0])
        assert with_cookie.status == 200
        assert client.token not in second.log + json.dumps(with_cookie.json)
        assert second.stop() == 0


def test_a_watched_camera_shows_something_new_although_nothing_moves(tmp_path: Path) -> None:
    still = write_pacing_clip(tmp_path / "still.mp4", frames=600, step_px=0)
    client = WebClient(free_port())
    with Daemon(web_pipeline(tmp_path, still, client.port, gate="{refresh: 1 h}")) as daemon:
        wait_until(client.ready, "readiness")
        first = client.get(f"{YARD}/picture.jpg").headers["etag"]
        wait_until(lambda: client.get(f"{YARD}/picture.jpg").headers["etag"] != first, "a fresh picture")
        assert daemon.stop() == 0


def test_what_cannot_be_measured_can_be_seen(tmp_path: Path) -> None:
    black = write_pacing_clip(tmp_path / "black.mp4", frames=900, step_px=0, light=6)
    client = WebClient(free_port())
    with Daemon(web_pipeline(tmp_path, black, client.port)) as daemon:
        wait_until(lambda: "camera yard: dark" in daemon.log, "the verdict")
        assert client.get(f"{YARD}/picture.jpg").status == 200
        assert client.get("/readyz").json["reasons"][0].startswith("camera yard: dark")
        assert daemon.messages("test/yard/zone/right/occupancy")[-1]["state"] == "unknown"
        assert daemon.stop() == 0


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path, tiny_clip: Path, site: Site) -> None:
    with Daemon(web_pipeline(tmp_path, tiny_clip, site.client.port)) as daemon:
        assert daemon.process.wait(240) == 2
        assert "web.listen: cannot listen there: " in daemon.log
        assert "Traceback" not in daemon.log

"""What a person sees and touches: a real chromium on a running daemon with a real clip and a real broker."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgeseg import config
from tests.support.broker import Broker, Received, Subscriber, accepts, free_port, wait_until
from tests.support.daemon import Daemon

pytest.importorskip("playwright", reason="playwright is missing; it comes with the extra test")

from playwright.sync_api import Browser, Page, expect

from tests.support.browser import Scheme, Visit, chromium

HEAVIEST_PAGE_BYTES = 200_000
FIRST_PAINT_WITHIN_MS = 1000

# Comments in every place that has some, and an order that nobody else would choose.
PIPELINE = """\
# The hall, since the new table came.
cameras:
  room:                                 # above the door
    rate: 5
    repeat: true
    source: {clip}   # the clip
    zones:
      # Where people stop.
      table:
        name: At the table              # as the staff call it
        polygon: [[0.45, 0.05], [0.72, 0.05], [0.72, 0.98], [0.45, 0.98]]
        rules:
          standing: {{occupied: [person], enter: 10 %, leave: 4 %, for: 1 s, clear: 1 s}}   # somebody

model: deeplabv3-mnv2-pascal            # knows people
node: gatehouse
web: {{listen: "127.0.0.1:{web}"}}
mqtt: {{url: "{broker}"}}              # in the cellar
"""
# Clockwise around the floor in the middle of the picture, as shares of it.
SIX_POINTS = ((0.30, 0.55), (0.45, 0.50), (0.60, 0.52), (0.70, 0.65), (0.60, 0.85), (0.35, 0.85))
DRAGGED_TO = (0.62, 0.95)


@dataclass(frozen=True)
class House:
    """A daemon at work, and where to reach it."""

    pipeline: Path
    url: str
    broker: Broker
    daemon: Daemon

    def zones(self) -> dict[str, Any]:
        """As the file on disk has them."""
        (camera,) = config.load(self.pipeline).cameras
        return {zone.name: zone for zone in camera.zones}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, data_dir: Path, pulled_models: Path) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    port = free_port()
    pipeline = folder / "hall.yaml"
    clip = data_dir / "video" / "one-by-one-person-detection.mp4"
    with Broker(folder) as broker:
        pipeline.write_text(PIPELINE.format(clip=clip, web=port, broker=broker.url))
        with Daemon(pipeline, {"EDGESEG_CACHE": str(pulled_models)}) as daemon:
            wait_until(lambda: accepts(port), "the web server listens", deadline_s=180)
            yield House(pipeline, f"http://127.0.0.1:{port}/", broker, daemon)
            # Whatever a person does in a page, the daemon does not fail of it.
            assert daemon.process.poll() is None
            assert "Traceback" not in daemon.log


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def occupancies(messages: list[Received], zone: str) -> list[Any]:
    topic = f"edgeseg/gatehouse/room/zone/{zone}/occupancy"
    return [json.loads(one.payload) for one in messages if one.topic == topic]


def picture_shown(page: Page) -> None:
    expect(page.locator(".picture").first).to_have_attribute("data-drawn", re.compile(r"\d"))


def test_a_zone_of_six_points(house: House, browser: Browser) -> None:
    before = house.pipeline.read_text()
    with (
        Subscriber(house.broker.port, "edgeseg/#") as subscriber,
        Visit(browser, house.url) as visit,
    ):
        page = visit.page
        page.get_by_role("link", name="Add a zone to room").click()
        picture_shown(page)
        before_drawing = page.locator(".stage-drawing").bounding_box()
        page.get_by_role("button", name="Draw").click()
        # A picture that jumped would be hit beside the mark.
        assert page.locator(".stage-drawing").bounding_box() == before_drawing
        for point in SIX_POINTS:
            page.mouse.click(*place(page, point))
        page.keyboard.press("Enter")
        expect(page.locator(".corner")).to_have_count(6)
        expect(page.locator(".coverage [data-class]").first).to_contain_text("%")
        covered = page.locator(".coverage .hint")
        measured = covered.inner_text()
        page.mouse.move(*place(page, SIX_POINTS[4]))
        page.mouse.down()
        page.mouse.move(*place(page, (0.61, 0.9)))
        page.mouse.move(*place(page, DRAGGED_TO))
        page.mouse.up()
        expect(covered).not_to_have_text(measured)
        page.get_by_label("Name of the zone").fill("Middle of the floor")
        page.get_by_role("button", name="Save").click()
        expect(page.locator(".save-said")).to_contain_text("Saved and in force")
        first = subscriber.wait_for(
            lambda all_: [one for one in occupancies(all_, "middle_of_the_floor") if one["state"] == "ok"],
            "occupancy of the new zone",
        )[0]
        assert abs(sum(first["coverage"].values()) + first["uncertain"] - 1) < 0.01
        page.get_by_role("link", name="Cameras", exact=True).click()
        expect(page.locator("[data-zone=middle_of_the_floor]")).to_be_visible()
        assert not visit.complaints

    zone = house.zones()["middle_of_the_floor"]
    assert zone.title == "Middle of the floor"
    (polygon,) = zone.include
    wanted = (*SIX_POINTS[:4], DRAGGED_TO, SIX_POINTS[5])
    # A pixel of the screen is 0.1 % of the picture.
    assert [pytest.approx(point, abs=0.003) for point in wanted] == list(polygon)
    after = house.pipeline.read_text()
    assert re.findall("#.*", after) == re.findall("#.*", before)
    # Line for line as before, but for what was added.
    assert [line for line in after.splitlines() if line in before.splitlines()] == before.splitlines()


def test_an_editor_without_a_mouse(house: House, browser: Browser) -> None:
    with Visit(browser, house.url) as visit:
        page = visit.page
        visit.open("#/edit/room")
        picture_shown(page)
        press = page.keyboard.press
        page.get_by_label("Name of the zone").fill("By keys")
        page.get_by_role("button", name="Box").focus()
        press("Enter")
        corners = page.locator(".corner")
        expect(corners).to_have_count(4)
        # The picture is 768 x 432; the box begins at 0.3, 0.3.
        expect(page.locator(":focus")).to_have_attribute("aria-label", "Corner 1 of 4, 230 across, 130 down")
        press("ArrowRight")
        press("Shift+ArrowDown")
        expect(page.locator(":focus")).to_have_attribute("aria-label", "Corner 1 of 4, 231 across, 140 down")
        assert page.evaluate("getComputedStyle(document.querySelector(':focus .touch')).strokeWidth") == "3px"
        press("+")
        expect(page.locator(":focus")).to_have_attribute("aria-label", re.compile("Corner 2 of 5"))
        press("Delete")
        expect(corners).to_have_count(4)
        press("Control+z")
        expect(corners).to_have_count(5)
        press("Control+Shift+z")
        expect(corners).to_have_count(4)
        press("Tab")
        expect(page.locator(":focus")).to_have_attribute("aria-label", re.compile("Corner 3 of 4"))
        # Exclude what is in the middle.
        page.get_by_role("button", name="Box").focus()
        press("Space")
        expect(page.locator(":focus")).to_have_attribute(
            "aria-label", re.compile("^Corner of an excluded area 1")
        )
        page.get_by_role("button", name="Save").focus()
        press("Enter")
        expect(page.locator(".save-said")).to_contain_text("Saved and in force")
        zone = house.zones()["by_keys"]
        assert zone.include[0][0] == pytest.approx((231 / 768, 140 / 432), abs=1e-3)
        assert len(zone.exclude) == 1
        # And it goes as it came.
        page.on("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Delete this zone").focus()
        press("Enter")
        expect(page.get_by_role("link", name="Add a zone to room")).to_be_visible()
        assert "by_keys" not in house.zones()
        assert not visit.complaints


def test_what_others_changed_is_not_overwritten(house: House, browser: Browser) -> None:
    with Visit(browser, house.url + "#/edit/room/table") as visit:
        page = visit.page
        picture_shown(page)
        page.get_by_label("Name of the zone").fill("At the counter")
        # Somebody edits the file by hand meanwhile.
        house.pipeline.write_text(house.pipeline.read_text().replace("# above the door", "# above the gate"))
        page.get_by_role("button", name="Save").click()
        said = page.locator(".save-said")
        expect(said).to_contain_text("was changed meanwhile")
        assert "At the counter" not in house.pipeline.read_text()
        page.get_by_role("button", name="keep my drawing").click()
        expect(page.get_by_label("Name of the zone")).to_have_value("At the counter")
        page.get_by_role("button", name="Save").click()
        expect(said).to_contain_text("Saved and in force")
    text = house.pipeline.read_text()
    assert "name: At the counter" in text
    assert "# above the gate" in text


def test_mistakes_stand_beside_their_fields(house: House, browser: Browser) -> None:
    before = house.pipeline.read_text()
    with Visit(browser, house.url + "#/edit/room/table") as visit:
        page = visit.page
        rule = page.locator("[data-rule=standing]")
        rule.locator("summary").first.click()
        rule.get_by_label("Ends at").fill("40 %")
        rule.get_by_label("After it held for").fill("soon")
        page.get_by_role("button", name="Save").click()
        for label, words in (("Ends at", "contradicts enter"), ("After it held for", "soon")):
            field = rule.get_by_label(label)
            expect(field).to_have_attribute("aria-invalid", "true")
            expect(rule.locator(".row", has=page.get_by_label(label)).locator(".problem")).to_contain_text(
                words
            )
        expect(page.locator(".save-said")).to_contain_text("see the fields that are marked")
        assert house.pipeline.read_text() == before


def test_a_rule_is_tried_against_what_was(house: House, browser: Browser) -> None:
    with Visit(browser, house.url + "#/edit/room/table") as visit:
        page = visit.page
        rule = page.locator("[data-rule=standing]")
        rule.locator("summary").first.click()
        said = rule.locator(".trial-said")

        def tried() -> bool:
            rule.get_by_role("button", name="Try against").click()
            expect(said).to_have_text(re.compile("."))
            return "it would have begun" in said.inner_text()

        wait_until(tried, "the rule would have begun", deadline_s=180)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_anybodys_way(house: House, browser: Browser, scheme: Scheme) -> None:
    with Visit(browser, house.url, scheme) as visit:
        page = visit.page
        picture_shown(page)
        expect(page.locator(".zone-now").first).not_to_have_text("Unknown")
        found = visit.violations()
        visit.open("#/edit/room/table")
        picture_shown(page)
        page.locator("[data-rule=standing] summary").first.click()
        page.get_by_text("Corners as numbers").click()
        assert found + visit.violations() == []


@pytest.mark.alone
def test_the_dashboard_lives(house: House, browser: Browser) -> None:
    with Visit(browser, house.url) as visit:
        page = visit.page
        painted_ms = visit.first_paint_ms()
        picture_shown(page)
        first = visit.pixels()
        wait_until(lambda: page.wait_for_timeout(100) or visit.pixels() != first, "the picture moves")
        zone = page.locator("[data-zone=table]")
        expect(zone.get_by_role("heading")).to_have_text(house.zones()["table"].title)
        expect(zone.locator(".zone-now")).to_have_text(re.compile(r"person \d"))
        now = zone.locator(".zone-now").inner_text()
        expect(zone.locator(".zone-now")).not_to_have_text(now)
        expect(zone.locator(".rule")).to_have_text(re.compile("standing on"))
        expect(page.locator(".alert").first).to_contain_text("is occupied")
        expect(page.locator(".camera .state")).to_have_text("Live")
        expect(page.locator(".figures")).to_contain_text("old")
        expect(page.locator("#load")).to_contain_text("busy")
        # The history keeps whole minutes as they go by; the chart is there from the beginning.
        expect(zone.locator(".chart")).to_have_attribute("aria-label", re.compile("Occupancy of At the"))
        weight_bytes = visit.weight_bytes()
        print(f"first paint after {painted_ms:.0f} ms; {weight_bytes} bytes without pictures")
        assert painted_ms < FIRST_PAINT_WITHIN_MS
        assert weight_bytes < HEAVIEST_PAGE_BYTES
        assert {response.url.split("/")[2] for response in visit.responses} == {house.url.split("/")[2]}
        assert not visit.complaints


def test_a_phone_shows_all_of_it(house: House, browser: Browser) -> None:
    with Visit(browser, house.url, width=390) as visit:
        picture_shown(visit.page)
        for hash_ in ("#/", "#/edit/room/table"):
            visit.open(hash_)
            picture_shown(visit.page)
            wider = visit.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wider <= 0, f"{hash_} is {wider} pixels wider than the screen"


def place(page: Page, point: tuple[float, float]) -> tuple[float, float]:
    """Where on the screen a point of the picture is."""
    box = page.locator(".stage-drawing").bounding_box()
    assert box is not None
    return box["x"] + point[0] * box["width"], box["y"] + point[1] * box["height"]

"""``make screenshots``: the pictures of the README, of a real clip watched for some minutes.

python -m tests.scripts.screenshots docs --minutes 10
"""

from __future__ import annotations

import argparse
import re
import tempfile
import threading
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.conftest import test_data
from tests.support.broker import accepts, free_port, wait_until
from tests.support.browser import Visit, chromium
from tests.support.daemon import Daemon

PIPELINE = """\
node: gatehouse
web: {{listen: "127.0.0.1:{port}"}}
model: deeplabv3-mnv2-pascal
cameras:
  room:
    source: {clip}
    repeat: true
    rate: 5
    zones:
      table:
        name: At the table
        polygon: [[0.45, 0.05], [0.72, 0.05], [0.72, 0.98], [0.45, 0.98]]
        rules:
          standing: {{occupied: [person], enter: 10 %, leave: 4 %, for: 2 s, clear: 1 s}}
      way_in:
        name: Way in
        polygon: [[0.02, 0.10], [0.40, 0.10], [0.40, 0.98], [0.02, 0.98]]
        rules:
          somebody: {{occupied: [person], enter: 3 %, leave: 1 %, for: 1 s, clear: 2 s}}
"""
FLOOR = ((0.28, 0.60), (0.44, 0.55), (0.62, 0.56), (0.74, 0.68), (0.70, 0.94), (0.30, 0.94))
TABLE_FOOT = ((0.52, 0.74), (0.58, 0.67), (0.64, 0.76), (0.57, 0.86))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("into", type=Path)
    parser.add_argument("--minutes", type=float, default=10, help="how long to watch before (%(default)g)")
    args = parser.parse_args()
    clip = test_data() / "video" / "one-by-one-person-detection.mp4"
    with tempfile.TemporaryDirectory() as folder:
        port, pipeline = free_port(), Path(folder) / "hall.yaml"
        pipeline.write_text(PIPELINE.format(port=port, clip=clip))
        url = f"http://127.0.0.1:{port}/"
        with Daemon(pipeline):
            wait_until(lambda: accepts(port), "the web server listens", deadline_s=180)
            threading.Event().wait(60 * args.minutes)
            with chromium() as browser:
                with Visit(browser, url) as visit:
                    somebody_is_there(visit.page)
                    visit.photograph(args.into / "dashboard.png")
                with Visit(browser, url, "dark") as visit:
                    somebody_is_there(visit.page)
                    visit.photograph(args.into / "dashboard-dark.png")
                with Visit(browser, url + "#/edit/room") as visit:
                    draw_a_zone(visit.page)
                    visit.photograph(args.into / "editor.png")


def somebody_is_there(page: Page) -> None:
    page.locator("#range").select_option("1")
    now = page.locator("[data-zone=table].alarmed .zone-now")
    expect(now).to_have_text(re.compile(r"person [2-9]\d"), timeout=120_000)
    # Until the picture of that moment is drawn.
    page.wait_for_timeout(400)


def draw_a_zone(page: Page) -> None:
    expect(page.locator(".coverage")).to_be_visible()
    for tool, points in (("Draw", FLOOR), ("Exclude an area", TABLE_FOOT)):
        page.get_by_role("button", name=tool).click()
        box = page.locator(".stage-drawing").bounding_box()
        assert box is not None
        for x, y in points:
            page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.keyboard.press("Enter")
    page.get_by_label("Name of the zone").fill("In front of the table")
    page.get_by_role("button", name="Add a rule").click()
    page.evaluate("scrollTo(0, 0)")
    expect(page.locator(".coverage [data-class=person]")).to_be_visible(timeout=120_000)
    page.wait_for_timeout(700)


if __name__ == "__main__":
    main()

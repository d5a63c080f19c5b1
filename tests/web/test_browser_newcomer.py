"""A zone of one's own in five steps, each told by the one before: what README.md promises to a new user."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.broker import free_port, wait_until

pytest.importorskip("playwright", reason="playwright is missing; it comes with the extra test")

from playwright.sync_api import expect

from tests.support.browser import Visit, chromium

TRIANGLE = ((0.3, 0.3), (0.7, 0.3), (0.5, 0.8))


def test_from_the_demo_to_a_zone(tmp_path: Path, data_dir: Path, pulled_models: Path) -> None:
    environment = {
        **os.environ,
        "EDGESEG_CACHE": str(pulled_models),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }
    # Step 1: what `make demo` does once it has installed.
    clip = data_dir / "video" / "one-by-one-person-detection.mp4"
    demo = subprocess.run(
        [sys.executable, "-m", "edgeseg", "demo", "--clip", str(clip), "--seconds", "2"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    told = demo.stdout.splitlines()
    command = told[told.index("a zone of your own") + 1].strip()
    assert re.search(r"edgeseg run (out/demo/demo\.yaml|\./out/demo/demo\.yaml) > \S+live\.jsonl$", command)
    # Somebody may have a dashboard at the usual port of this machine.
    file = tmp_path / "out" / "demo" / "demo.yaml"
    file.write_text(file.read_text().replace('"127.0.0.1:8088"', f'"127.0.0.1:{free_port()}"'))

    # Step 2: what it told, with the interpreter of this test.
    run = re.sub(r"^\S*edgeseg ", f"exec {sys.executable} -m edgeseg ", command)
    log = tmp_path / "log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(run, shell=True, cwd=tmp_path, env=environment, stderr=errors) as daemon,
    ):
        try:
            at = r"web: listening at (http://\S+)"
            url = wait_until(lambda: re.search(at, log.read_text()), "the page's address", deadline_s=180)[1]
            draw_a_zone(url + "/")
            live = tmp_path / "out" / "demo" / "live.jsonl"

            def measured() -> bool:
                lines = [json.loads(line) for line in live.read_text().splitlines() if line.endswith("}")]
                ours = [line for line in lines if line["topic"].endswith("zone/my_zone/occupancy")]
                return any(line["payload"]["state"] == "ok" for line in ours)

            wait_until(measured, "the zone is measured")
        finally:
            daemon.terminate()
            print(log.read_text())


def draw_a_zone(url: str) -> None:
    with chromium() as browser, Visit(browser, url) as visit:
        page = visit.page
        # Step 3.
        page.get_by_role("link", name="Add a zone").click()
        # Step 4, as the page tells it.
        expect(page.locator(".stage-help")).to_contain_text("choose Draw")
        page.get_by_role("button", name="Draw").click()
        box = page.locator(".stage-drawing").bounding_box()
        assert box is not None
        for x, y in TRIANGLE:
            page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
        expect(page.locator(".stage-help")).to_contain_text("close the shape")
        page.get_by_role("button", name="Close", exact=True).click()
        # Step 5.
        page.get_by_label("Name of the zone").fill("My zone")
        page.get_by_role("button", name="Save").click()
        expect(page.locator(".save-said")).to_contain_text("Saved and in force")

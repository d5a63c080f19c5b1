"""A real chromium, driven through Playwright, and what the page must keep to wherever it is opened."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Response, expect, sync_playwright

from tests.conftest import missing

Scheme = Literal["light", "dark"]

_NAMES = ("chromium", "chromium-browser", "google-chrome")
# For a machine that does three other things.
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)
_GRAVE = ("serious", "critical")


@contextmanager
def chromium(*options: str) -> Iterator[Browser]:
    """Debian's chromium without a window. options: of its command line.

    While it is open, this thread has a running event loop.
    """
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        missing("chromium")
    # Its sandbox refuses to work for root.
    arguments = [*options, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


class Visit:
    """One page in a profile of its own. Whatever it complains of or fetches is kept."""

    def __init__(self, browser: Browser, url: str, scheme: Scheme = "light", *, width: int = 1360) -> None:
        self.url = url
        self.complaints: list[str] = []
        self.responses: list[Response] = []
        self._context = browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 900}, ignore_https_errors=True
        )
        self._context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self._context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("response", lambda response: self.responses.append(response))

    def __enter__(self) -> Visit:
        self.page.goto(self.url)
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def open(self, place: str) -> None:
        """``#/edit/room``."""
        self.page.goto(self.url + place)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def pixels(self) -> str:
        """A digest of the picture that is shown."""
        return str(
            self.page.evaluate(
                """() => {
                    const canvas = document.querySelector(".photo");
                    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                    return data.reduce((sum, value) => (sum * 31 + value) % 4294967291, 7);
                }"""
            )
        )

    def first_paint_ms(self) -> float:
        """First contentful paint, since the navigation began."""
        entries = "performance.getEntriesByName('first-contentful-paint')"
        self.page.wait_for_function(f"{entries}.length > 0")
        return float(self.page.evaluate(f"{entries}[0].startTime"))

    def weight_bytes(self) -> int:
        """Of all that makes up the page: documents, styles, scripts, and the first answers of the API."""
        seen: set[str] = set()
        total = 0
        for response in self.responses:
            kind = response.headers.get("content-type", "")
            if response.url not in seen and not kind.startswith(("image/jpeg", "image/png")):
                seen.add(response.url)
                total += len(response.body())
        return total

    def violations(self) -> list[str]:
        """What axe-core finds serious or critical on the page as it is."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes']][:3]}"
            for one in found
            if one["impact"] in _GRAVE
        ]

    def photograph(self, path: Path) -> None:
        self.page.screenshot(path=path)

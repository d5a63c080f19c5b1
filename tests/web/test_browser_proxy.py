"""The recipe of docs/dashboard.md for TLS by a reverse proxy, in a real nginx: a real browser and a token."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, missing
from tests.support.broker import Certificates, accepts, free_port, wait_until
from tests.support.daemon import Daemon
from tests.support.tiny_models import Convention, write_model

pytest.importorskip("playwright", reason="playwright is missing; it comes with the extra test")

from playwright.sync_api import Browser, expect

from tests.support.browser import Visit, chromium

NAME = "cameras.example.org"
TOKEN = "0123456789abcdef-proxy-token"
# Where tests/install_servers.sh unpacks it.
UNPACKED = Path(sys.prefix) / "servers" / "usr" / "sbin"

PIPELINE = """\
node: gatehouse
model: {model}
web: {{listen: "127.0.0.1:{port}", token_file: web_token, hosts: [{name}]}}
cameras:
  yard:
    source: {clip}
    repeat: true
    gate: off
    zones:
      right:
        polygon: [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]
"""
# What a server of its own needs around the recipe.
AROUND = """\
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
worker_processes 1;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {recipe}
}}
"""


def recipe(listen: int, to: int, certificates: Certificates) -> str:
    """The text of the page, with this test's ports and files in it."""
    (text,) = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs" / "dashboard.md").read_text(), re.DOTALL)
    for written, here in (
        ("listen 443 ssl", f"listen 127.0.0.1:{listen} ssl"),
        ("127.0.0.1:8088", f"127.0.0.1:{to}"),
        ("/etc/ssl/certs/cameras.pem", str(certificates.certificate)),
        ("/etc/ssl/private/cameras.key", str(certificates.key)),
    ):
        assert written in text
        text = text.replace(written, here)
    return str(text)


@pytest.fixture
def proxied(tmp_path: Path, tiny_clip: Path) -> Iterator[str]:
    """The address of a daemon behind nginx."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path=str(UNPACKED))
    if nginx is None:
        missing("nginx")
    web, tls = free_port(), free_port()
    model = tmp_path / "tiny"
    write_model(model, Convention())
    (tmp_path / "web_token").write_text(TOKEN + "\n")
    pipeline = tmp_path / "yard.yaml"
    pipeline.write_text(PIPELINE.format(model=model, clip=tiny_clip, port=web, name=NAME))
    configuration = tmp_path / "nginx.conf"
    around = AROUND.format(folder=tmp_path, recipe=recipe(tls, web, Certificates.make(tmp_path / "tls")))
    configuration.write_text(around)
    with (
        Daemon(pipeline) as daemon,
        (tmp_path / "nginx.log").open("wb") as log,
        subprocess.Popen([str(nginx), "-c", str(configuration)], stderr=log) as server,
    ):
        try:
            wait_until(lambda: accepts(web), "the web server listens", deadline_s=180)
            wait_until(lambda: accepts(tls), "nginx listens")
            yield f"https://{NAME}:{tls}/"
        finally:
            server.terminate()
        assert TOKEN not in daemon.log


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium(f"--host-resolver-rules=MAP {NAME} 127.0.0.1") as browser:
        yield browser


def test_tls_by_a_reverse_proxy(proxied: str, browser: Browser) -> None:
    with Visit(browser, proxied) as visit:
        page = visit.page
        expect(page.get_by_role("heading", name="Who is there?")).to_be_visible()
        assert visit.violations() == []
        page.get_by_label("Token").fill("not the token at all")
        page.keyboard.press("Enter")
        expect(page.get_by_text("That is not the token.")).to_be_visible()
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        # The WebSocket came through, and pictures do.
        expect(page.locator("#link")).to_have_text("Live")
        expect(page.locator(".picture")).to_have_attribute("data-drawn", re.compile(r"\d{1,}"))
        (cookie,) = page.context.cookies()
        assert cookie["secure"]
        assert cookie["httpOnly"]
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_label("Token")).to_be_visible()

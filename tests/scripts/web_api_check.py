"""A property-based client against a running daemon: ``make test-api``.

schemathesis makes requests of all kinds from /openapi.json, valid and not, and holds each answer against it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import TESTS
from tests.support.broker import free_port, wait_until
from tests.support.daemon import Daemon
from tests.support.web_client import WebClient, web_pipeline, write_pacing_clip

CONFIG = TESTS / "schemathesis.toml"


def main(schemathesis: str, *more: str) -> int:
    """more: further arguments for schemathesis. Returns its exit code, or 1 where the daemon took harm."""
    with tempfile.TemporaryDirectory() as folder:
        client = WebClient(free_port())
        clip = write_pacing_clip(Path(folder) / "pacing.mp4", frames=9000)
        with Daemon(web_pipeline(Path(folder), clip, client.port)) as daemon:
            wait_until(client.ready, "readiness")
            document = f"http://127.0.0.1:{client.port}/openapi.json"
            command = [schemathesis, "--config-file", str(CONFIG), "run", document, "--checks", "all", *more]
            code = subprocess.run(command, check=False).returncode
            harmed = daemon.stop() != 0 or "Traceback" in daemon.log
            return code or int(harmed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

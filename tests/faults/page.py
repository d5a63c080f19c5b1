"""Writes docs/faults.md from what a run saved: ``python -m tests.faults.page out/faults/faults.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.faults.ledger import Row, table

PAGE = ROOT / "docs" / "faults.md"
HEAD = """\
# What was done to edgeseg, and what it cost

`make faults` runs the daemon against a real RTSP server and a real broker and does all of this to it; `make
test` runs a short selection. Small disks and another name server need root; where something is missing its
test is skipped, saying so. The table is printed at the end and saved as `out/faults/faults.json`. This page
is made from such runs: {machine}.

- *noticed*: from the fault until a subscriber was told; where it concerns the broker or the disk, until the
  log says so.
- *recovered*: from the end of the fault until the first result or alert.
- *lost*, *unmarked*: alert messages that never came, and that came twice without `replayed`. Found by the
  numbering within each alert, and where the camera itself was well also by its beat: a square that appears
  every two seconds.
- *leaks*: descriptors, threads, processes and shared memory that stayed behind.

"""
TAIL = """
What takes long does so on purpose: a refused password is tried once a minute, since cameras lock accounts; a
broker that stands still is noticed by keepalive (15 s); a camera whose process crashes at each start is tried
with pauses of up to 30 s; for an engine that hangs, starting anew is the last resort.

What parses bytes from outside is also fuzzed guided by coverage: `make fuzz`. `edgeseg soak`, or `make soak`,
runs the daemon amid random faults for as long as one likes.
"""


def main() -> None:
    document = json.loads(Path(sys.argv[1]).read_text())
    machine = document["machine"]
    words = f"{machine['cores']} cores ({machine['architecture']}), Linux {machine['kernel'].split('-')[0]}"
    rows = [Row(**fields) for fields in document["faults"]]
    PAGE.write_text(HEAD.format(machine=f"{words}, Python {machine['python']}") + table(rows) + "\n" + TAIL)


if __name__ == "__main__":
    main()

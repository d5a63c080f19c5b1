"""Writes docs/faults.md, and its short form in the README, from what runs saved:
``python -m tests.faults.page out/faults/faults.json out/soak``."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.faults.ledger import Row, table

PAGE = ROOT / "docs" / "faults.md"
README = ROOT / "README.md"
PLOT = "soak.png"
# Where the short table stands in the README: what begins so, up to the first line that is none of it.
SHORT_HEAD = "| fault | noticed | recovered | alerts lost |\n|---|---|---|---|\n"
SHORT = (
    ("camera: killed, back after 1 min", "camera switched off for a minute"),
    ("camera: half-open connection", "camera's connection half-open"),
    ("camera: the same picture for 45 s", "camera repeats one picture"),
    ("camera: its process hangs (SIGSTOP)", "decoder hangs"),
    ("camera: crash loop for 40 s", "decoder crashes again and again; the other camera keeps its rate"),
    ("broker: killed, back after 10 min", "broker away for ten minutes"),
    ("broker: frozen (SIGSTOP)", "broker stands still"),
    ("disk: full while it runs, broker away", "disk full, broker away"),
    ("clock: jumps back by 1 h", "clock set back by an hour"),
    ("engine: hangs for ever", "engine hangs"),
    ("engine: hangs on its first picture", "engine hangs on its first picture"),
    ("engine: takes the daemon with it (SIGSEGV)", "engine takes the daemon with it"),
    ("daemon: SIGKILL at 200 random points", "200 times SIGKILL at random"),
)
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
with pauses of up to 30 s; for an engine that hangs, starting anew is the last resort. How long an engine's
run takes is known from its warming up, before the first picture; an engine that hangs while it is loaded or
warms up has 180 s, as nothing tells how long that may take.

What parses bytes from outside is also fuzzed guided by coverage: `make fuzz`.
"""
SOAK = """
## The soak

`edgeseg soak --minutes {minutes:.0f}` on the same machine: {cameras} cameras, {faults} faults of {kinds}
kinds at random.

| promise | | |
|---|---|---|
{checks}

![memory, descriptors and threads, live cameras with the faults, ages of results]({plot})

Memory: {first:.1f} MiB after the first quarter, {last:.1f} MiB at the end. What Python holds was constant to
0.3 % over a quarter of an hour of such faults, counted object by object (tracemalloc); what grew in the first
minutes was free memory that glibc keeps for each thread. The unit switches that off
(`GLIBC_TUNABLES=glibc.malloc.tcache_count=0`, `MALLOC_ARENA_MAX=1`: no more CPU time for the same work,
measured with three engines), and the soak runs the daemon as the unit does. What settles is told from
what grows by fitting both (`edgeseg/soak/trend.py`); 3 MiB an hour would be found.
"""


def main() -> None:
    document = json.loads(Path(sys.argv[1]).read_text())
    machine = document["machine"]
    words = f"{machine['cores']} cores ({machine['architecture']}), Linux {machine['kernel'].split('-')[0]}"
    rows = [Row(**fields) for fields in document["faults"]]
    whole = HEAD.format(machine=f"{words}, Python {machine['python']}") + table(rows) + "\n" + TAIL
    PAGE.write_text(whole + soak(Path(sys.argv[2])))
    before, there, after = README.read_text().partition(SHORT_HEAD)
    rest = re.sub(r"\A(\|.*\n)*", "", after)
    if there:
        README.write_text(before + SHORT_HEAD + short(rows) + rest)


def soak(folder: Path) -> str:
    document = json.loads((folder / "soak.json").read_text())
    shutil.copy(folder / PLOT, PAGE.parent / PLOT)
    samples, faults = document["samples"], document["faults"]
    signs = {True: "kept", False: "**broken**"}
    return SOAK.format(
        minutes=samples[-1]["at_s"] // 60,
        cameras=max(sample["live"] for sample in samples),
        faults=sum(faults.values()),
        kinds=len(faults),
        checks="\n".join(
            f"| {one['name']} | {signs[one['passed']]} | {one['figure']} |" for one in document["checks"]
        ),
        plot=PLOT,
        first=samples[len(samples) // 4]["resident_mib"],
        last=samples[-1]["resident_mib"],
    )


def short(rows: list[Row]) -> str:
    found = {f"{row.area}: {row.fault}": row for row in rows}
    lines = []
    for name, words in SHORT:
        row = found[name]
        times = ["–" if value is None else f"{value:.1f} s" for value in (row.noticed_s, row.recovered_s)]
        lines.append(f"| {words} | {times[0]} | {times[1]} | {row.lost} |\n")
    return "".join(lines)


if __name__ == "__main__":
    main()

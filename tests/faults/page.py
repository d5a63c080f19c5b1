"""Write docs/faults.md from saved runs: ``python -m tests.faults.page out/faults/faults.json out/soak``."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.faults.ledger import Row, table

PAGE = ROOT / "docs" / "faults.md"
PLOT = "soak.png"
HEAD = """\
# Faults

What was done to edgeseg, and what it cost. `make faults` runs the daemon against a real RTSP server and a
real broker and injects all of these faults; `make test` runs a short selection. Small disks and another name
server need root; tests whose means are missing are skipped with the reason. The table is printed at the end
and saved as `out/faults/faults.json`. This page is made from such runs: {machine}.

| column | means |
|---|---|
| noticed | from the fault until a subscriber received it; broker and disk: until the log reported it |
| recovered | from the end of the fault until the first result or alert |
| lost | alert messages that never came |
| unmarked | alert messages that came twice without `replayed` |
| leaks | descriptors, threads, processes and shared memory that were left behind |

*Lost* and *unmarked* follow from the sequence numbers of each alert. Where the camera itself was well, they
also follow from its beat: its picture shows a square every two seconds.

"""
TAIL = """
Some times are long on purpose. A refused password is tried once a minute, because cameras lock accounts.
Keepalive (15 s) notices a broker that hangs. A camera whose process crashes at each start is tried with
pauses of up to 30 s. A restart is the last resort for an engine that hangs. The warm-up, before the first
picture, measures how long an engine's run takes. An engine that hangs while it is loaded or warmed up has 180
s, because nothing predicts how long that takes.

`make fuzz` also tests the parsers of external bytes with coverage-guided fuzzing.

## On your machine

`edgeseg soak` injects random faults into the daemon on your machine:

```sh
edgeseg soak --minutes 20                       # four made-up cameras, a broker of its own; needs mosquitto
edgeseg soak --minutes 20 --model deeplabv3-mnv2-pascal recording.mp4 rtsp://10.0.0.5/stream2
```

It checks the daemon's promises: memory that does not grow (95 % interval of the slope), descriptors, threads
and processes as before, fresh results in order, every alert once. It writes `out/soak/soak.json` and, with
the extra `bench`, `soak.png`. Exit code 1 means that a promise was broken.
"""
SOAK = """
## The soak

`edgeseg soak --minutes {minutes:.0f}` on the same machine: {cameras} cameras, and {faults} random faults of
{kinds} kinds.

| promise | | |
|---|---|---|
{checks}

![memory, descriptors and threads, live cameras with the faults, ages of results]({plot})

Memory: {first:.1f} MiB after the first quarter, {last:.1f} MiB at the end. Python's own memory was constant
to 0.3 % over a quarter of an hour of such faults (tracemalloc). The growth in the first minutes was free
memory that glibc keeps for each thread. The systemd unit switches that off
(`GLIBC_TUNABLES=glibc.malloc.tcache_count=0`, `MALLOC_ARENA_MAX=1`: no more CPU time for the same work,
measured with three engines), and the soak runs the daemon as the unit does. The verdict fits settling and
growth separately, and would notice 3 MiB an hour
([decision 25](decisions/0025-no-per-thread-malloc-caches.md)).
"""


def main() -> None:
    document = json.loads(Path(sys.argv[1]).read_text())
    machine = document["machine"]
    words = f"{machine['cores']} cores ({machine['architecture']}), Linux {machine['kernel'].split('-')[0]}"
    rows = [Row(**fields) for fields in document["faults"]]
    whole = HEAD.format(machine=f"{words}, Python {machine['python']}") + table(rows) + "\n" + TAIL
    PAGE.write_text(whole + soak(Path(sys.argv[2])))


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


if __name__ == "__main__":
    main()

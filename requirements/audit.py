"""Holds what the lock files pin against the public database of known vulnerabilities (pip-audit).

Exit codes: 0 all looked up and nothing known, 1 something is known, 2 not all could be looked up.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

AUDITOR = "pip-audit==2.10.1"


def main() -> int:
    known: dict[str, list[str]] = {}
    audited: set[str] = set()
    left_out: set[str] = set()
    unread: list[str] = []
    for lock in sorted(Path(__file__).parent.glob("*.lock")):
        answer = subprocess.run(
            [
                *(str(Path(sys.prefix) / "bin" / "uv"), "tool", "run", AUDITOR, "--disable-pip"),
                *("--require-hashes", "--progress-spinner=off", "--format=json", f"--requirement={lock}"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        try:
            dependencies = json.loads(answer.stdout)["dependencies"]
        except (ValueError, KeyError):
            unread.append(lock.name)
            continue
        for one in dependencies:
            name = f"{one['name']} {one.get('version', '')}".strip()
            (left_out if "skip_reason" in one else audited).add(name)
            if one.get("vulns"):
                known[name] = [vulnerability["id"] for vulnerability in one["vulns"]]
    if not audited:
        why = "no vulnerability database can be reached" if left_out else f"{AUDITOR} could not be run"
        print(f"audit: nothing was audited: {why}")
        return 2
    for name, ids in sorted(known.items()):
        print(f"audit: {name}: {', '.join(ids)}")
    for name in unread:
        print(f"audit: {name} was not audited: {AUDITOR} could not be run")
    if left_out:
        print(f"audit: the database was not to be had for {len(left_out)} packages, which were not audited")
    print(f"audit: {len(audited)} packages audited, {len(known)} with known vulnerabilities")
    return 1 if known else 2 if left_out or unread else 0


if __name__ == "__main__":
    sys.exit(main())

"""Coverage-guided fuzzing of what parses bytes from outside: ``python -m tests.faults.fuzz TARGET SECONDS``.

What it finds interesting is kept in out/fuzz/TARGET, so that the next run goes on from there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["edgeseg", "yaml"]):
    from tests.faults.targets import TARGETS, seeds


def main() -> None:
    target, seconds = sys.argv[1], sys.argv[2]
    corpus = Path("out") / "fuzz" / target
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(target)):
        (corpus / f"seed{number}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=4096"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={corpus.parent}/{target}-", str(corpus)], run)
    atheris.Fuzz()


def run(data: bytes) -> None:
    TARGETS[sys.argv[1]](data)


if __name__ == "__main__":
    main()

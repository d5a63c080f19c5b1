"""Demo pipeline file: one camera that repeats a clip, and the dashboard."""

from __future__ import annotations

import json
import re
from pathlib import Path

_HEAD = """\
# What `edgeseg demo` watched, to play with:
#
#   edgeseg run {file}
#
# and open http://{listen}/ in a browser. The page changes zones and rules in this file; so may you.

node: demo
web: {{listen: "{listen}"}}
model: {model}
{groups}
cameras:
"""
LISTEN = "127.0.0.1:8088"


def write_demo_pipeline(shipped: Path, camera: str, clip: Path, model: str, file: Path) -> bool:
    """Make ``file`` of the camera in the ``shipped`` pipeline file, unless it is there: then it is the
    user's, perhaps with zones of theirs. Returns whether it was made. model: what the camera runs.
    """
    if file.exists():
        return False
    text = shipped.read_text(encoding="utf-8")
    (block,) = re.findall(rf"^  {camera}:\n(?:(?:    .*)?\n)+", text, re.MULTILINE)
    # Other models have other classes.
    groups = re.findall(r"^groups: {(\w+): .*}\n", text, re.MULTILINE)
    used = re.findall(r"^groups: .*\n", text, re.MULTILINE) if any(name in block for name in groups) else []
    # JSON's strings are YAML's.
    source = f"    source: {json.dumps(str(clip.resolve()), ensure_ascii=False)}\n    repeat: true\n"
    block = re.sub(r"    source: .*\n", lambda _: source, block)
    block = re.sub(r"    (?:model|gate): .*\n", "", block)
    head = _HEAD.format(file=file, listen=LISTEN, model=model, groups="".join(used))
    file.write_text(head + block.rstrip() + "\n", encoding="utf-8")
    return True

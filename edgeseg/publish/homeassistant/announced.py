"""Where a node has announced itself to Home Assistant, so that a later run can take that back."""

from __future__ import annotations

import json
import logging
from pathlib import Path

log = logging.getLogger(__name__)

FILE = "homeassistant.json"
_MOST = 8


class Announced:
    """Discovery prefixes, newest last, in a file of the node's state folder. Without it, devices that are
    switched off have to be removed by hand."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def prefixes(self) -> tuple[str, ...]:
        """Empty where nothing was ever announced, or the file cannot be read."""
        try:
            found = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return ()
        return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()

    def add(self, prefix: str) -> None:
        """Remember it; where the disk does not take it, the log says so."""
        before = self.prefixes()
        if prefix in before:
            return
        partial = self._path.with_suffix(".partial")
        try:
            partial.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps([*before, prefix][-_MOST:]), encoding="utf-8")
            partial.replace(self._path)
        except OSError as error:
            log.warning("%s: cannot be written: %s", self._path, error.strerror)

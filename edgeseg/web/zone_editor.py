"""Zones of the pipeline file: read, judged as the file would be, and written without touching the rest."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

from edgeseg import config
from edgeseg.errors import ConfigError, Problem
from edgeseg.settings import PipelineSettings
from edgeseg.web.request import RefusedError
from edgeseg.yamlfile import MAX_BYTES, KeyPath, parse
from edgeseg.yamlfile.rewrite import RewriteError, with_mapping, write_file

log = logging.getLogger(__name__)

# 0.01 % of a picture is a fraction of a pixel.
_POINT_DECIMALS = 4
_TRIAL = "trial"
_TAG = re.compile(r'"[0-9a-f]{64}"')


class ZoneEditor:
    """The zones of one pipeline file. Thread-safe. saved: called after each change."""

    def __init__(self, path: Path, saved: Callable[[], None]) -> None:
        self._path = path
        self._saved = saved
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return self._path.name

    @property
    def writable(self) -> bool:
        """Whether this process may replace the file."""
        place = self._path.resolve()
        return os.access(place, os.W_OK) and os.access(place.parent, os.W_OK)

    def zones(self, camera: str) -> tuple[str, dict[str, dict[str, object]]]:
        """(digest of the file, zones as written, in order). Raises RefusedError (409)."""
        text = self._read()
        try:
            data, _ = parse(text, self.name)
        except ConfigError as error:
            raise RefusedError(409, "the pipeline file cannot be read", error.problems) from None
        zones = _camera(data, camera).get("zones") or {}
        if not isinstance(zones, dict) or not all(isinstance(one, dict) for one in zones.values()):
            raise RefusedError(409, f"the zones of {camera} in the pipeline file are no mappings")
        return _digest(text), {str(name): dict(one) for name, one in zones.items()}

    def save(self, camera: str, zone: str, body: bytes | None, if_match: str | None) -> tuple[str, str]:
        """Write a zone (JSON), or take it out (None). Returns the file's digest and the name of the file that
        holds the version before. Raises RefusedError."""
        value = None if body is None else _zone(body)
        with self._lock:
            text = self._read()
            if if_match is None:
                raise RefusedError(428, "send If-Match with the ETag of the zones that were changed")
            if not _TAG.fullmatch(if_match):
                raise RefusedError(400, "If-Match is not the ETag of the zones")
            if if_match != f'"{_digest(text)}"':
                raise RefusedError(412, "the pipeline file was changed meanwhile; fetch its zones again")
            _, zones = self.zones(camera)
            if value is None and zone not in zones:
                raise RefusedError(404, f"camera {camera} has no zone {zone} in the pipeline file")
            made = self._rewritten(text, ("cameras", camera, "zones", zone), value)
            self._judged(made)
            try:
                if not self.writable:
                    raise PermissionError(13, "not writable for edgeseg")
                kept = write_file(self._path, made)
            except OSError as error:
                message = f"{self.name} cannot be written: {error.strerror or error}"
                raise RefusedError(409, message) from None
        log.info("%s: zone %s of camera %s %s", self.name, zone, camera, "saved" if value else "taken out")
        self._saved()
        return _digest(made), kept.name

    def with_rule(self, camera: str, zone: str, rule: dict[str, object]) -> PipelineSettings:
        """The file's settings, had the zone this rule alone, named ``trial``. Raises RefusedError."""
        _, zones = self.zones(camera)
        if zone not in zones:
            raise RefusedError(404, f"camera {camera} has no zone {zone} in the pipeline file")
        at: KeyPath = ("cameras", camera, "zones", zone, "rules")
        return self._judged(self._rewritten(self._read(), at, {_TRIAL: _clean(rule)}))

    def _read(self) -> str:
        try:
            return self._path.read_bytes().decode("utf-8-sig")
        except (OSError, ValueError) as error:
            raise RefusedError(409, f"{self.name} cannot be read: {error}") from None

    def _rewritten(self, text: str, at: KeyPath, value: dict[str, object] | None) -> str:
        try:
            made = with_mapping(text, at, value)
        except (RewriteError, ConfigError) as error:
            raise RefusedError(409, f"{self.name}: {error}") from None
        if len(made.encode()) > MAX_BYTES:
            raise RefusedError(422, f"{self.name} would be larger than {MAX_BYTES} bytes")
        return made

    def _judged(self, text: str) -> PipelineSettings:
        try:
            return config.check(text, self._path)
        except ConfigError as error:
            raise RefusedError(422, "the pipeline file would have mistakes", error.problems) from None


def _camera(data: object, camera: str) -> dict[str, object]:
    cameras = data.get("cameras") if isinstance(data, dict) else None
    found = cameras.get(camera) if isinstance(cameras, dict) else None
    if not isinstance(found, dict):
        raise RefusedError(409, f"the pipeline file has no camera {camera} any more")
    return found


def _zone(body: bytes) -> dict[str, object]:
    """Raises RefusedError (400)."""
    try:
        value = json.loads(body.decode(), parse_constant=_refuse)
        # What YAML files cannot hold: halves of surrogate pairs.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise RefusedError(400, "the body is no JSON") from None
    if not isinstance(value, dict):
        raise RefusedError(400, "the body is no zone: expected a JSON object")
    problems = [Problem("", 0, 0, key, "is missing") for key in ("polygon",) if value.get(key) is None]
    if problems:
        raise RefusedError(422, "the zone has mistakes", problems)
    for key in ("polygon", "exclude"):
        value[key] = _rounded(value.get(key))
    return _clean(value)


def _clean(value: dict[str, object]) -> dict[str, object]:
    """Without keys that are null: in a file they are left out."""
    return {
        key: _clean(one) if isinstance(one, dict) else one for key, one in value.items() if one is not None
    }


def _rounded(value: object) -> object:
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, _POINT_DECIMALS) if isinstance(value, float) else value


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

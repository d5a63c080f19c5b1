"""What a camera's rules remember, as text that outlives the process, and back.

    {"rules": [{"zone", "rule", "fingerprint", "memory": {...}}, ...], "away": {...}, "boot", ...}

A key that is missing has its default, one that is unknown is passed over: files of an older edgeseg are
read as they are. Where a memory would mean something else, the database's version has to count up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2s

from pydantic import TypeAdapter, ValidationError

from edgeseg.rules.memory import AwayMemory, RuleId, RuleMemory
from edgeseg.settings import RuleSettings, ZoneSettings

Memories = Mapping[str, Mapping[str, RuleMemory]]
Fingerprints = Mapping[RuleId, str]


@dataclass(frozen=True, slots=True)
class StoredRule:
    """One rule's memory. fingerprint: of all that gives the memory its meaning, see ``fingerprints``."""

    zone: str
    rule: str
    fingerprint: str
    memory: RuleMemory


@dataclass(frozen=True, slots=True)
class StoredCamera:
    """What was known of a camera at one moment. boot, monotonic_s, utc_s: when that was, and by which start
    of the machine the monotonic clock, and so all camera time inside, counts."""

    boot: str
    monotonic_s: float
    utc_s: float
    rules: tuple[StoredRule, ...]
    away: AwayMemory


_stored = TypeAdapter(StoredCamera)


def fingerprints(zones: Collection[ZoneSettings], classes: Sequence[str]) -> dict[RuleId, str]:
    """Return a digest of where each rule looks and what it asks. classes: the model's.

    Settings that an older edgeseg did not know count only where they differ from what it did.
    """
    found = {}
    for zone in zones:
        place = _set_fields(zone, exclude=("title", "rules"))
        for rule in zone.rules:
            text = repr((place, tuple(classes), _set_fields(rule, exclude=("groups",))))
            found[RuleId(zone.name, rule.name)] = blake2s(text.encode(), digest_size=8).hexdigest()
    return found


def _set_fields(
    settings: ZoneSettings | RuleSettings, exclude: Collection[str] = ()
) -> list[tuple[str, object]]:
    return [
        (field.name, value)
        for field in fields(settings)
        if field.name not in exclude and (value := getattr(settings, field.name)) != field.default
    ]


def encode(
    memories: Memories, away: AwayMemory, prints: Fingerprints, boot: str, monotonic_s: float, utc_s: float
) -> str:
    """As compact JSON."""
    rules = tuple(
        StoredRule(zone, rule, prints[RuleId(zone, rule)], memory)
        for zone, rules in memories.items()
        for rule, memory in rules.items()
    )
    return _stored.dump_json(StoredCamera(boot, monotonic_s, utc_s, rules, away)).decode()


def decode(text: str) -> StoredCamera:
    """Raises ValueError for what is none."""
    try:
        return _stored.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{place or 'memory'}: {first['msg']}") from None

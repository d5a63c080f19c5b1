"""Server shared memory: maps the regions of clients on this machine, for reading."""

from __future__ import annotations

import mmap
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path

from edgeseg.kserve.served_model import BadRequestError

_FOLDER = Path("/dev/shm")
# No folders, nothing hidden, nothing that begins like a path.
_KEY = re.compile(r"/?([A-Za-z0-9_][A-Za-z0-9._-]{0,200})")
MOST_REGIONS = 64
MOST_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class _MappedRegion:
    key: str
    file: str
    offset: int
    bytes: int
    mapped: mmap.mmap


class RegionTable:
    """The regions that clients registered, by name. Safe to call from several threads."""

    def __init__(self) -> None:
        self._regions: dict[str, _MappedRegion] = {}
        self._lock = threading.Lock()

    def register(self, name: str, key: str, offset: int, size: int) -> None:
        """Map a region. Raises BadRequestError: it is not there, not ours to read, or too much."""
        found = _KEY.fullmatch(key)
        if not name or found is None:
            raise BadRequestError("expected a name and the key of a region in /dev/shm")
        with self._lock:
            if name in self._regions:
                raise BadRequestError(f"shared memory region '{name}' is registered already")
            # Of clients that ended without unregistering.
            gone = [other for other, one in self._regions.items() if not (_FOLDER / one.file).exists()]
            for other in gone:
                del self._regions[other]
            held = sum(one.offset + one.bytes for one in self._regions.values())
            if (
                len(self._regions) >= MOST_REGIONS
                or offset < 0
                or size <= 0
                or held + offset + size > MOST_BYTES
            ):
                raise BadRequestError(f"at most {MOST_REGIONS} regions of {MOST_BYTES} bytes together")
            self._regions[name] = _MappedRegion(key, found[1], offset, size, _mapped(found[1], offset + size))

    def unregister(self, name: str) -> None:
        """Unregister one region, or with an empty name all."""
        with self._lock:
            if name:
                self._regions.pop(name, None)
            else:
                self._regions.clear()

    def read(self, name: str, offset: int, size: int) -> memoryview:
        """Return a region's bytes, without a copy. Raises BadRequestError."""
        with self._lock:
            region = self._regions.get(name)
        if region is None:
            raise BadRequestError(f"no shared memory region '{name}' is registered")
        if offset < 0 or size < 0 or offset + size > region.bytes:
            raise BadRequestError(f"shared memory region '{name}' has {region.bytes} bytes")
        begin = region.offset + offset
        return memoryview(region.mapped)[begin : begin + size]

    def listed(self) -> tuple[tuple[str, str, int, int], ...]:
        """Return name, key, offset and bytes of each region."""
        with self._lock:
            return tuple((name, one.key, one.offset, one.bytes) for name, one in self._regions.items())


def _mapped(file: str, size: int) -> mmap.mmap:
    try:
        descriptor = os.open(_FOLDER / file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise BadRequestError(f"unable to open shared memory region: {error.strerror}") from None
    try:
        # A region that is shorter than registered would end the process at the first byte that is missing.
        if os.fstat(descriptor).st_size < size:
            raise BadRequestError("the shared memory region is smaller than registered")
        return mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
    finally:
        os.close(descriptor)

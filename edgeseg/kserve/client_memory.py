"""Client shared memory: passes pictures to a server on the same machine without a socket."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tritonclient.utils import InferenceServerException, shared_memory

from edgeseg.engines.tensors import Tensor

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _OwnRegion:
    name: str
    handle: Any


class RegionPool:
    """A pool of shared memory regions, one for each concurrent call, each registered at the server.

    usable: False once the server could not take one: another user's, in a container, or behind a tunnel.
    """

    def __init__(self, client: Any, headers: dict[str, str] | None, timeout_s: float) -> None:
        self.usable = True
        self._client = client
        self._headers = headers
        self._timeout_s = timeout_s
        self._idle: list[_OwnRegion] = []
        self._lock = threading.Lock()
        self._discarded: set[str] = set()
        self._closed = False

    @contextlib.contextmanager
    def lend(self, tensor: Tensor, timeout_s: float) -> Iterator[str | None]:
        """Yield the name of a region that holds ``tensor`` meanwhile; None where there is none.

        Raises InferenceServerException where the server does not answer.
        """
        region = self._take(tensor.nbytes, timeout_s)
        if region is None:
            yield None
            return
        try:
            shared_memory.set_shared_memory_region(region.handle, [tensor])
            yield region.name
        finally:
            with self._lock:
                reusable = not self._closed and region.name not in self._discarded
                self._discarded.discard(region.name)
                if reusable:
                    self._idle.append(region)
            if not reusable:
                shared_memory.destroy_shared_memory_region(region.handle)

    def discard(self, region: str) -> None:
        """Never use a region again: a restarted server does not know it, or the server may still read it."""
        with self._lock:
            self._discarded.add(region)

    def close(self, client: Any) -> None:
        """Unregister and delete all regions. client: one that is connected; None where none is."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for region in idle:
            if client is not None:
                # The region goes, whatever the server answers.
                with contextlib.suppress(InferenceServerException):
                    client.unregister_system_shared_memory(
                        region.name, headers=self._headers, client_timeout=self._timeout_s
                    )
            shared_memory.destroy_shared_memory_region(region.handle)

    def _take(self, size: int, timeout_s: float) -> _OwnRegion | None:
        with self._lock:
            if self._closed or not self.usable:
                return None
            if self._idle:
                return self._idle.pop()
        return self._register(size, timeout_s)

    def _register(self, size: int, timeout_s: float) -> _OwnRegion | None:
        name = f"edgeseg-{os.getpid()}-{secrets.token_hex(8)}"
        handle = shared_memory.create_shared_memory_region(name, name, size, create_only=True)
        try:
            self._client.register_system_shared_memory(
                name, f"/{name}", size, headers=self._headers, client_timeout=timeout_s
            )
        except InferenceServerException as error:
            shared_memory.destroy_shared_memory_region(handle)
            if str(error.status()).endswith("DEADLINE_EXCEEDED"):
                raise
            # A server that is away shows in the request itself.
            self.usable = False
            log.info("engine kserve: no shared memory with the server, pictures go by socket: %s", error)
            return None
        return _OwnRegion(name, handle)

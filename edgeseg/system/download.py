"""Download: fetches one pinned file over HTTP, and resumes an interrupted attempt."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import BinaryIO

import aiohttp

CONNECT_TIMEOUT_S = 15.0
READ_TIMEOUT_S = 30.0
CHUNK_BYTES = 256 * 1024


class DownloadError(Exception):
    """A download did not arrive. ``retry``: whether trying again may help."""

    def __init__(self, message: str, *, retry: bool) -> None:
        self.retry = retry
        super().__init__(message)


def fetch(url: str, into: BinaryIO, size_bytes: int, on_progress: Callable[[int], None]) -> None:
    """Append to ``into`` (opened for reading and writing, positioned at its end) what is missing.

    Tries once. Whatever arrived stays in ``into``, so that the next attempt asks for the rest only
    (RFC 9110, section 14). on_progress: called with the number of bytes there are by now.
    Raises DownloadError; OSError where the disk is the trouble.
    """
    asyncio.run(_fetch(url, into, size_bytes, on_progress))


async def _fetch(url: str, into: BinaryIO, size_bytes: int, on_progress: Callable[[int], None]) -> None:
    have = into.tell()
    # Without identity the length and the ranges would be those of a compressed body.
    headers = {"Accept-Encoding": "identity", "User-Agent": "edgeseg"}
    if have:
        headers["Range"] = f"bytes={have}-"
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.get(url, headers=headers) as answer,
        ):
            if answer.status == 416 or (answer.status == 206 and not _continues(answer, have)):
                _restart(into)
                raise DownloadError("the server could not go on where the download was cut", retry=True)
            if answer.status not in (200, 206):
                retry = answer.status in (408, 429) or answer.status >= 500
                raise DownloadError(
                    f"the server answered {answer.status} {answer.reason or ''}".strip(), retry=retry
                )
            if answer.status == 200:
                _restart(into)
                have = 0
            async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                have += len(chunk)
                if have > size_bytes:
                    raise DownloadError(f"the server sends more than {size_bytes} bytes", retry=False)
                into.write(chunk)
                on_progress(have)
    except TimeoutError:
        raise DownloadError("the server does not answer", retry=True) from None
    except aiohttp.ClientPayloadError:
        raise DownloadError(
            f"the connection was cut after {have} of {size_bytes} bytes", retry=True
        ) from None
    except aiohttp.ClientConnectorError as error:
        code = error.os_error.errno or 0
        # asyncio has words of its own, name look-ups have codes of their own, below 0.
        reason = os.strerror(code) if code > 0 else error.os_error.strerror or str(error.os_error)
        raise DownloadError(f"cannot connect to {error.host}: {reason}", retry=False) from None
    except aiohttp.ClientError as error:
        raise DownloadError(f"the download failed: {type(error).__name__}", retry=True) from None
    if have < size_bytes:
        raise DownloadError(f"the server sent {have} of {size_bytes} bytes", retry=True)


def _continues(answer: aiohttp.ClientResponse, have: int) -> bool:
    return answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")


def _restart(into: BinaryIO) -> None:
    into.seek(0)
    into.truncate()

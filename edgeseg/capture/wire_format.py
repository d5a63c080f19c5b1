"""Wire format: messages of a camera process as JSON. The daemon never unpickles data from a process that
decodes untrusted input.

Unpickling runs code of the sender's choice, so that a decoder that was taken over would own the daemon
too. Here it can at most lie about its own camera.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import get_args

from pydantic import TypeAdapter, ValidationError

from edgeseg.capture.messages import Failed, FromCamera
from edgeseg.errors import SourceError, SourceReason

# A layout of many tiles is the longest honest message: a few kilobytes.
MAX_MESSAGE_BYTES = 1 << 18


class WireError(ValueError):
    """A camera process sent an invalid message."""


@dataclass(frozen=True, slots=True)
class _Failure:
    reason: SourceReason
    message: str


_KINDS = {kind.__name__: kind for kind in get_args(FromCamera) if kind is not Failed}
_READERS = {name: TypeAdapter(kind) for name, kind in _KINDS.items()}
_FAILURE = TypeAdapter(_Failure)


def encode(message: FromCamera) -> bytes:
    """Serialize a message. Called by the camera process."""
    if isinstance(message, Failed):
        content: object = asdict(_Failure(message.error.reason, str(message.error)))
    else:
        content = asdict(message)
    return json.dumps([type(message).__name__, content]).encode()


def decode(data: bytes) -> FromCamera:
    """Parse a message. Called by the daemon. Raises WireError for all that is not a valid message."""
    try:
        # A NaN among the times would put the order of all cameras' frames out of order.
        kind, content = json.loads(data, parse_constant=_refuse, parse_float=_finite)
        if kind == Failed.__name__:
            failure = _FAILURE.validate_python(content)
            return Failed(SourceError(failure.reason, failure.message))
        message: FromCamera = _READERS[kind].validate_python(content)
        return message
    except (ValueError, TypeError, KeyError, RecursionError, ValidationError) as error:
        raise WireError(f"{type(error).__name__} in a message of {len(data)} bytes") from None


def _refuse(constant: str) -> float:
    raise ValueError(constant)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number

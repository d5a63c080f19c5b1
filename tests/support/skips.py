"""Which tests may be skipped, and for what. With ``CI=true`` every other skip is a failure.

A skip for want of data, a server, a browser, an engine or a library of the lock hides what a test would
have found. What stands here another command runs, or only another machine can.
"""

from __future__ import annotations

import os
import re

ALLOWED = tuple(
    map(
        re.compile,
        (
            # make test-zoo
            r"\(extra zoo\)$|the zoo extra is not installed",
            r"(litert-torch|ai-edge-quantizer) is not installed",
            r"make test-homeassistant|this Home Assistant, from before",
            r"make test-examples",
            r"make test-kubernetes",
            r"make test-remote",
            # This machine has what the test is about the absence of.
            r"this machine has (an Edge TPU|a \w+ decoder)|there is a video device here|this onnxruntime has",
            # Its processor or kernel cannot.
            r"this CPU computes neither bf16 nor f16|this kernel has no PR_SET_MDWE",
            # Pictures of a Debian package, to compare sizes with; EDGESEG_OPENCV_DOC names its folder.
            r"Debian's package opencv-doc",
            # One parameter of a test that is about those that can.
            r"cannot be cut: read in one piece",
        ),
    )
)


def forbidden(reason: str) -> bool:
    """Whether a test must not be skipped for this reason here."""
    return os.environ.get("CI") == "true" and not any(allowed.search(reason) for allowed in ALLOWED)

"""What holds for every answer: headers, what needs no token, and which faults are ours."""

from __future__ import annotations

import logging

from edgeseg.web.routes import ROUTES

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
}
# The page itself holds nothing; it asks for the token.
OPEN = {route.path for route in ROUTES if route.open} | {"/", "/static/{name}"}


class _OurFaults(logging.Filter):
    """Leaves out what is no HTTP: anybody could fill the log with it."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        # aiohttp's own kinds; it is imported in one place.
        return not any(kind.__name__ == "HttpProcessingError" for kind in type(error).__mro__)


def faults() -> logging.Logger:
    """Where a handler that fails is logged."""
    logger = logging.getLogger(f"{__name__}.requests")
    if not logger.filters:
        logger.addFilter(_OurFaults())
    return logger

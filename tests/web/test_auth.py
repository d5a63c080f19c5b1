"""Who may ask the web server: names, origins, tokens, cookies."""

from __future__ import annotations

import socket

import pytest

from edgeseg.clock import ManualClock
from edgeseg.settings import Secret, WebSettings
from edgeseg.web.auth import SESSION_S, Authenticator
from edgeseg.web.request import RefusedError

TOKEN = "0123456789abcdef"


def guard(clock: ManualClock, token: str | None = TOKEN) -> Authenticator:
    secret = None if token is None else Secret(token)
    return Authenticator(WebSettings("0.0.0.0", 8088, None, secret, ("cams.example.org",)), clock)


def refusal(judge: Authenticator, method: str, upgrade: bool = False, **headers: str) -> int | None:
    try:
        judge.check_origin(
            method, {key.replace("_", "-"): one for key, one in headers.items()}, upgrade=upgrade
        )
    except RefusedError as refused:
        return refused.status
    return None


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1:8088", True),
        ("192.168.1.20:8088", True),
        ("[::1]:8088", True),
        ("localhost:8088", True),
        (f"{socket.gethostname().lower()}.local", True),
        ("cams.example.org", True),
        ("CAMS.example.org:443", True),
        ("evil.example.net", False),
        ("127.0.0.1.evil.example.net", False),
        ("", False),
        ("[::1", False),
    ],
)
def test_a_name_that_somebody_else_lets_point_here_is_refused(host: str, known: bool) -> None:
    assert (refusal(guard(ManualClock()), "GET", host=host) is None) == known


def test_pages_of_other_origins_change_nothing_and_hear_nothing() -> None:
    judge, here = guard(ManualClock()), "127.0.0.1:8088"
    assert refusal(judge, "POST", host=here) is None
    assert refusal(judge, "POST", host=here, origin="http://127.0.0.1:8088") is None
    assert refusal(judge, "POST", host="127.0.0.1:8088", origin="https://cams.example.org") is None
    for origin in ("http://evil.example.net", "null", "http://127.0.0.1:9999", "", "http://[::1"):
        assert refusal(judge, "POST", host=here, origin=origin) == 403
        assert refusal(judge, "DELETE", host=here, origin=origin) == 403
        assert refusal(judge, "GET", True, host=here, origin=origin) == 403
        assert refusal(judge, "GET", host=here, origin=origin) is None
    assert refusal(judge, "POST", host=here, sec_fetch_site="cross-site") == 403


def test_the_token_as_header_and_as_cookie() -> None:
    clock = ManualClock(utc_s=1_700_000_000)
    judge = guard(clock)
    assert not judge.is_trusted({}, None, "a")
    assert not judge.is_trusted({"authorization": "Basic eDp5"}, None, "a")
    assert judge.is_trusted({"authorization": f"Bearer {TOKEN}"}, None, "a")
    cookie = judge.session()
    assert judge.is_trusted({}, cookie, "a")
    assert guard(clock).is_trusted({}, cookie, "a"), "it outlives a restart"
    assert not guard(clock, "fedcba9876543210").is_trusted({}, cookie, "a"), "and ends with its token"
    until, _, seal = cookie.partition(".")
    for forged in (
        f"{int(until) + 1}.{seal}",
        f"{until}.{seal[:-1]}",
        until,
        "",
        "é.é",
        f"٣{cookie}",
        f"{until}.\udcff",
    ):
        assert not judge.is_trusted({}, forged, "a")
    clock.advance(SESSION_S)
    assert not judge.is_trusted({}, cookie, "a")
    assert guard(clock, None).is_trusted({}, None, "a"), "none is needed"


def test_guessing_is_slow_and_only_for_who_guesses() -> None:
    clock = ManualClock()
    judge = guard(clock)

    def status(given: str, remote: str) -> int:
        try:
            judge.is_trusted({"authorization": f"Bearer {given}"}, None, remote)
        except RefusedError as refused:
            return refused.status
        return 200

    assert [status(given, "a") for given in ("\udcff", *["wrong"] * 6)] == [401] * 5 + [429] * 2
    assert status(TOKEN, "a") == 429, "not even looked at"
    assert status(TOKEN, "b") == 200
    clock.advance(10.0)
    assert status("wrong", "a") == 401
    assert status("wrong", "a") == 429
    clock.advance(10.0)
    assert [status(TOKEN, "a") for _ in range(9)] == [200] * 9

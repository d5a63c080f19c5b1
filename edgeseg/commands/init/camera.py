"""Camera questions of ``edgeseg init``: address, password variable and stream."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from edgeseg.commands.init.prompts import Prompter
from edgeseg.errors import EdgesegError, SourceError

if TYPE_CHECKING:
    from edgeseg.capture.probe import SourceFacts

_LOGIN = re.compile(r"^([A-Za-z][\w+.-]*://)([^/?#@:]*)(?::([^/?#]*))?@(?=[^@]*$)")


@dataclass(frozen=True, slots=True)
class CameraAddress:
    """A camera's address.

    template: the source as the file will have it. values: of its variables. seen: a description of its
    stream, fps: its rate; None where it was not tried.
    """

    template: str
    values: Mapping[str, str]
    seen: str | None = None
    fps: float | None = None

    @property
    def url(self) -> str:
        """The address with the secrets in it."""
        from edgeseg.config import addresses

        return addresses.filled(self.template, dict(self.values), Path.cwd())

    @property
    def redacted(self) -> str:
        """The address without secrets."""
        from edgeseg.system.redaction import redact

        return redact(self.template, [value for value in self.values.values() if value])


def camera_of(address: str, name: str, prompter: Prompter) -> CameraAddress:
    """Move the password of an address into a variable, whose value is looked up or asked for.

    Raises EdgesegError for an address that is wrong; the message never has a password.
    """
    from edgeseg.config import addresses

    address = address.strip()
    if "://" not in address and not address.startswith("gstreamer:"):
        # A relative path means another file elsewhere.
        address = str(Path(address).expanduser().absolute())
    template, values = _without_password(address, name, prompter)
    try:
        addresses.source(template)
    except ValueError as error:
        raise EdgesegError(f"the camera's address {error}") from None
    for variable in addresses.VARIABLE.findall(template):
        values[variable] = (
            values.get(variable) or os.environ.get(variable, "") or prompter.password(f"${variable}")
        )
        if not values[variable]:
            raise EdgesegError(f"the camera's address needs {variable}: export {variable}='...'")
    return CameraAddress(template, values)


def _without_password(address: str, name: str, prompter: Prompter) -> tuple[str, dict[str, str]]:
    login = _LOGIN.match(address)
    if login is None or "${" in (login[3] or ""):
        return address, {}
    scheme, user, password = login.groups()
    rest = address[login.end() :]
    if not password:
        password = quote(prompter.password(f"password of {unquote(user)} (Enter: none)"), safe="")
        if not password:
            return address, {}
    variable = re.sub(r"\W", "_", name).upper().lstrip("0123456789_") or "CAMERA"
    variable = f"{variable}_PASSWORD"
    return f"{scheme}{user}:${{{variable}}}@{rest}", {variable: unquote(password)}


def choose_stream(camera: CameraAddress, rate_fps: float, prompter: Prompter) -> CameraAddress:
    """Try the camera, and its substream where the address is a main stream's; return the better one.

    Prints what they send. Raises SourceError where the camera cannot be read.
    """
    from edgeseg.sources.open import is_finite
    from edgeseg.tools.doctor import streams
    from edgeseg.tools.doctor.cameras import describe

    facts = _try_camera(camera)
    print(f"  {describe(facts)}")
    camera = replace(camera, seen=_for_the_file(facts), fps=facts.fps)
    other = streams.substream(camera.template)
    if is_finite(camera.url) or (streams.too_much(facts, rate_fps) is None and not _worth_trying(facts)):
        return camera
    if other is None:
        if (excess := streams.too_much(facts, rate_fps)) is not None:
            print(f"  {excess} is more than is needed: a substream of 5 to 10 a second costs less to decode")
        return camera
    smaller = replace(camera, template=other.url)
    try:
        its_facts = _try_camera(smaller)
    except SourceError as error:
        print(
            f"  {error}\n  so the main stream is used; switch the substream on in the camera: {other.where}"
        )
        return camera
    print(f"  {describe(its_facts)}")
    if streams.better(its_facts, facts, rate_fps) and prompter.confirm(
        "use this substream? It costs less to decode"
    ):
        return replace(smaller, seen=f"its substream: {_for_the_file(its_facts)}", fps=its_facts.fps)
    return camera


def _for_the_file(facts: SourceFacts) -> str:
    """Return a description for the file, without what changes soon."""
    from edgeseg.tools.doctor.cameras import describe

    return describe(replace(facts, clock_ahead_s=None))


def _worth_trying(facts: SourceFacts) -> bool:
    """Return whether the stream is larger than any network's input."""
    return facts.width_px * facts.height_px > 800 * 600


def _try_camera(camera: CameraAddress) -> SourceFacts:
    from edgeseg.clock import SystemClock
    from edgeseg.tools.doctor.cameras import probe_camera

    print(f"trying {camera.redacted} ...", flush=True)
    return probe_camera(camera.url, camera.redacted, SystemClock(), threading.Event())


def discovered(prompter: Prompter) -> str:
    """Return the likely address of a camera that answered on the local network.

    Raises EdgesegError where none did.
    """
    from edgeseg.clock import SystemClock
    from edgeseg.tools.doctor.discovery import discover

    print("searching the local network for ONVIF cameras ...", flush=True)
    try:
        found = discover(SystemClock())
    except OSError as error:
        raise EdgesegError(
            f"the local network cannot be searched: {error.strerror}; give --camera URL"
        ) from None
    if not found:
        raise EdgesegError(
            "no ONVIF camera answers on this network; many have ONVIF switched off, and others are behind a "
            "router. Give --camera URL"
        )
    options = [f"{one.host:<15}  {one.name or '?'} {one.model}".rstrip() for one in found]
    if not prompter.asks:
        raise EdgesegError(
            "\n".join(["these answered; give one with --camera URL:", *(f"  {one}" for one in options)])
        )
    print(f"{len(found)} cameras answered:")
    camera = found[prompter.choice("which one", options) if len(found) > 1 else _only(options)]
    user = prompter.text("user name at the camera (Enter: none)")
    usual = camera.stream or f"rtsp://{camera.host}:554/"
    scheme, _, rest = usual.partition("://")
    usual = f"{scheme}://{quote(user, safe='')}@{rest}" if user else usual
    return prompter.text("address of its stream", usual)


def _only(options: list[str]) -> int:
    print(f"  {options[0]}")
    return 0

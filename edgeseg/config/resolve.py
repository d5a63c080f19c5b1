"""Resolve: fills in variables from the environment and passwords from files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edgeseg.config import addresses
from edgeseg.config.keys.web import LEAST_TOKEN_CHARS
from edgeseg.errors import ConfigError, Problem
from edgeseg.settings import (
    CameraSettings,
    MqttSettings,
    PipelineSettings,
    RemoteSettings,
    Secret,
    SourceUrl,
    WebSettings,
)
from edgeseg.sources.gstreamer import launch_line
from edgeseg.yamlfile import KeyPath, Places, dotted, quoted
from edgeseg.yamlfile import load as load_yaml

MAX_SECRET_BYTES = 4096


def resolve(
    settings: PipelineSettings, env: Mapping[str, str], credentials_dir: Path | None
) -> PipelineSettings:
    """Return settings with each source's ``url``, passwords and tokens filled in, and ``ca_file`` absolute.

    A resolved source is a URL, or for a clip or a folder its absolute path.
    env: the environment. credentials_dir: systemd's ``$CREDENTIALS_DIRECTORY``, None where there is none.
    Raises ConfigError: variables and files that are missing, all at once, never quoting a value.
    """
    resolver = _Resolver(settings, env, credentials_dir)
    cameras = tuple(resolver.camera(camera) for camera in settings.cameras)
    mqtt = resolver.mqtt(settings.mqtt) if settings.mqtt is not None else None
    web = resolver.web(settings.web) if settings.web is not None else None
    if resolver.missing:
        raise ConfigError(resolver.problems())
    return replace(settings, cameras=cameras, mqtt=mqtt, web=web)


def secrets_of(settings: PipelineSettings) -> tuple[str, ...]:
    """Return every credential that resolved settings hold, for ``edgeseg.system.redaction.Redaction``.

    These are what was filled in for ``${VAR}`` in URLs, passwords in addresses, the broker's password and
    tokens. A path holds none.
    """
    found: set[str] = set()
    for camera in settings.cameras:
        found |= _secrets_of_source(camera.source)
        if camera.evidence is not None and camera.evidence.record_source is not None:
            found |= _secrets_of_source(camera.evidence.record_source)
        if camera.remote is not None and camera.remote.token is not None:
            found.add(camera.remote.token.reveal())
    if settings.mqtt is not None and settings.mqtt.password is not None:
        found.add(settings.mqtt.password.reveal())
    if settings.web is not None and settings.web.token is not None:
        found.add(settings.web.token.reveal())
    return tuple(sorted(found - {""}))


@dataclass(slots=True)
class _Resolver:
    settings: PipelineSettings
    env: Mapping[str, str]
    credentials_dir: Path | None
    missing: list[tuple[KeyPath, str]] = field(default_factory=list)
    remotes: dict[RemoteSettings, RemoteSettings] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return Path(self.settings.file).parent

    def camera(self, camera: CameraSettings) -> CameraSettings:
        at: KeyPath = ("cameras", camera.name)
        evidence = camera.evidence
        if evidence is not None and evidence.record_source is not None:
            second = self._source(camera, (*at, "evidence", "record_source"), evidence.record_source)
            evidence = replace(evidence, record_source=second)
        source = self._source(camera, (*at, "source"), camera.source)
        remote = None if camera.remote is None else self._remote(camera.remote)
        return replace(camera, source=source, evidence=evidence, remote=remote)

    def _remote(self, remote: RemoteSettings) -> RemoteSettings:
        """Resolve a remote that cameras share, so that what is missing is reported once."""
        if remote not in self.remotes:
            token, ca_file = None, None
            if remote.token_file is not None:
                token = self._secret(("remote", "token_file"), remote.token_file, "token")
            if remote.ca_file is not None:
                path = self._find(("remote", "ca_file"), remote.ca_file)
                ca_file = str(path) if path is not None else None
            self.remotes[remote] = replace(remote, token=token, ca_file=ca_file)
        return self.remotes[remote]

    def _source(self, camera: CameraSettings, at: KeyPath, source: SourceUrl) -> SourceUrl:
        template = source.template
        names = dict.fromkeys(addresses.VARIABLE.findall(template))
        values = {name: self.env.get(name, "") for name in names}
        for name, value in values.items():
            if not value:
                state = "is empty" if name in self.env else "is not set"
                self.missing.append(
                    (at, f"the environment variable {name} {state}; camera {camera.name} needs it")
                )
        url = addresses.filled(template, values, self.folder)
        # Of a file that is not there, its author wants to see where it was sought.
        shown = url if values and "://" not in url else source.shown
        return replace(source, url=Secret(url), shown=shown)

    def mqtt(self, mqtt: MqttSettings) -> MqttSettings:
        password: Secret | None = None
        ca_file: str | None = None
        if mqtt.password_file is not None:
            password = self._secret(("mqtt", "password_file"), mqtt.password_file, "password")
        if mqtt.ca_file is not None:
            path = self._find(("mqtt", "ca_file"), mqtt.ca_file)
            ca_file = str(path) if path is not None else None
        return replace(mqtt, password=password, ca_file=ca_file)

    def web(self, web: WebSettings) -> WebSettings:
        if web.token_file is None:
            return web
        at: KeyPath = ("web", "token_file")
        token = self._secret(at, web.token_file, "token")
        if token is not None and len(token.reveal()) < LEAST_TOKEN_CHARS:
            message = (
                f"the token has less than {LEAST_TOKEN_CHARS} characters; make one by openssl rand -hex 16"
            )
            self._missing(at, message)
        return replace(web, token=token)

    def _secret(self, at: KeyPath, name: str, what: str) -> Secret | None:
        path = self._find(at, name)
        return None if path is None else self._read(at, path, what)

    def _find(self, at: KeyPath, name: str) -> Path | None:
        """Return a credential of that name, or else a path relative to the pipeline file."""
        places = [(self.folder / name).absolute()]
        if self.credentials_dir is not None and "/" not in name:
            places.insert(0, self.credentials_dir / name)
        for place in places:
            try:
                if place.exists():
                    return place
            except OSError as error:
                self._missing(at, f"{place} cannot be read: {error.strerror}")
                return None
        looked = " and ".join(str(place) for place in places)
        credentials = "" if self.credentials_dir is not None else " ($CREDENTIALS_DIRECTORY is not set)"
        self._missing(at, f"no file {quoted(name)}, looked for {looked}{credentials}; create it")
        return None

    def _read(self, at: KeyPath, path: Path, what: str) -> Secret | None:
        try:
            with path.open("rb") as stream:
                raw = stream.read(MAX_SECRET_BYTES + 1)
        except OSError as error:
            self._missing(at, f"{path} cannot be read: {error.strerror}")
            return None
        try:
            text = raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            self._missing(at, f"{path} is not UTF-8 text")
            return None
        if not text:
            self._missing(at, f"{path} is empty; it must hold the {what} alone")
            return None
        if len(raw) > MAX_SECRET_BYTES or any(ord(char) < 32 for char in text):
            self._missing(at, f"{path} holds more than one line of text; it must hold the {what} alone")
            return None
        return Secret(text)

    def _missing(self, at: KeyPath, message: str) -> None:
        self.missing.append((at, message))

    def problems(self) -> list[Problem]:
        """Return the problems, with line numbers from the file where that was not changed meanwhile."""
        places: Places | None = None
        try:
            _, read = load_yaml(Path(self.settings.file))
            places = read if read.digest == self.settings.digest else None
        except ConfigError:
            pass
        found = [
            Problem(self.settings.file, *(places.of(at) if places else (0, 0)), dotted(at), message)
            for at, message in self.missing
        ]
        return sorted(found, key=lambda problem: (problem.line, problem.column))


def _secrets_of_source(source: SourceUrl) -> set[str]:
    if source.url is None:
        return set()
    url = source.url.reveal()
    found: set[str] = set()
    pipeline = launch_line.pipeline_of(url)
    if pipeline is None and "://" not in url:
        return found
    literals = [re.escape(part) for part in addresses.VARIABLE.split(source.template)[::2]]
    filled = re.search("(.+?)".join(literals) + "$", url, re.DOTALL)
    if filled is not None:
        found.update(unquote(value) for value in filled.groups())
    if pipeline is not None:
        # What was filled in outside of URLs is escaped.
        return found | {re.sub(r"\\(.)", r"\1", value) for value in found} | launch_line.secrets(pipeline)
    # The user name alone is no secret, and often a word such as "admin" or "live".
    found.add(unquote(urlsplit(url).netloc.rpartition("@")[0].partition(":")[2]))
    return found

"""From the file as written to settings: names, models, classes, geometry, defaults, all problems at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgeseg.config import addresses, geometry, names
from edgeseg.config.build_evidence import Written, budget, check_people, evidence_of_camera
from edgeseg.config.build_ground import CameraGround, ZoneGround
from edgeseg.config.build_rules import build_rule
from edgeseg.config.classes import Vocabulary, check_groups
from edgeseg.config.keys.budget import budget_settings
from edgeseg.config.keys.gate import GateFile
from edgeseg.config.keys.ground import GroundFile, ground_settings
from edgeseg.config.keys.health import health_settings
from edgeseg.config.keys.homeassistant import homeassistant_settings
from edgeseg.config.keys.mqtt import MqttFile
from edgeseg.config.keys.pipeline import CameraFile, PipelineFile, ZoneFile
from edgeseg.config.keys.refine import refine_flaw
from edgeseg.config.keys.remote import remote_flaw, remote_settings, servers
from edgeseg.config.keys.web import WebFile, listen
from edgeseg.errors import ConfigError, ModelError, Problem
from edgeseg.geometry.polygons import area_in_cells, rectangle
from edgeseg.models.model import Model
from edgeseg.models.runtimes import formats
from edgeseg.settings import (
    DEFAULT_MODEL,
    CameraSettings,
    DecodeName,
    GateSettings,
    HomeAssistantSettings,
    MqttSettings,
    PipelineSettings,
    Polygon,
    RuleSettings,
    SourceUrl,
    WebSettings,
    ZoneSettings,
)
from edgeseg.sources.gstreamer import launch_line
from edgeseg.yamlfile import KeyPath, PathPart, Places, dotted, quoted

DEFAULT_RATE_FPS = 5.0
DEFAULT_PRIORITY = 0
DEFAULT_CONFIDENCE_FLOOR = 0.0
# What is left then says nothing about the zone.
DEFAULT_MAX_UNCERTAIN = 0.9
DEFAULT_GATE = GateSettings(refresh_s=5.0, sensitivity="medium", keyframes=True)
# About 3 pixels of 640 x 480.
LEAST_AREA = 1e-5


FindModel = Callable[[str], Model]
"""Model name or absolute path -> the model. Raises ModelError or ConfigError."""
ModelsWith = Callable[[str], tuple[str, ...]]
"""Class -> names of the installed models that tell it apart."""


@dataclass(slots=True)
class Builder:
    """Builds settings and collects problems.

    folder: what relative model paths start from.
    broken: paths of mappings from which wrong keys were left out: what is missing there is no mistake.
    group_names: all groups of the file, those with mistakes too.
    """

    places: Places
    folder: Path
    find_model: FindModel
    models_with: ModelsWith
    broken: frozenset[KeyPath]
    group_names: frozenset[str]
    problems: list[Problem] = field(default_factory=list)

    def pipeline(self, file: PipelineFile) -> PipelineSettings:
        """Only to be used where ``problems`` is empty afterwards."""
        models = self._models(file)
        groups = self._groups(file, models)
        check_people(file.evidence, self._all_classes(models, groups), self._wrong)
        cameras = []
        for name, camera in file.cameras.items():
            self._check_name(("cameras", name))
            model_name = self._model_name(camera.model or file.model)
            model = models[model_name]
            classes = model.classes if model else None
            vocabulary = Vocabulary(model_name, classes, groups, self.models_with)
            cameras.append(self._camera(name, camera, file, vocabulary))
            self._check_remote(name, camera, file)
            if model is not None:
                self._check_engine_and_input(name, camera, file, model)
        return PipelineSettings(
            file=self.places.file,
            digest=self.places.digest,
            node=file.node or names.default_node(),
            mqtt=self._mqtt(file.mqtt) if file.mqtt is not None else None,
            groups=groups,
            cameras=tuple(cameras),
            evidence_budget=budget(file.evidence),
            homeassistant=self._homeassistant(file),
            budget=budget_settings(file.budget),
            web=self._web(file.web) if file.web is not None else None,
        )

    def _wrong(self, steps: Sequence[PathPart], message: str, *, key: bool = False) -> None:
        place = self.places.of_key(steps) if key else self.places.of(steps)
        self.problems.append(Problem(self.places.file, *place, dotted(steps), message))

    def _check_name(self, steps: KeyPath) -> None:
        flaw = names.name_flaw(str(steps[-1]))
        if flaw:
            self._wrong(steps, flaw, key=True)

    def _model_name(self, written: str | None) -> str:
        """A model given as a path is relative to the pipeline file; a plain name stays as it is."""
        name = written or DEFAULT_MODEL
        is_path = "/" in name or name.endswith((".yaml", ".onnx", ".tflite"))
        return str((self.folder / name).absolute()) if is_path and not name.startswith("~") else name

    def _models(self, file: PipelineFile) -> dict[str, Model | None]:
        """Every model that the file names or takes by default; None for one that cannot be had."""
        wanted: dict[str, KeyPath] = {self._model_name(file.model): ("model",)} if file.model else {}
        for name, camera in file.cameras.items():
            wanted.setdefault(self._model_name(camera.model or file.model), ("cameras", name, "model"))
        found: dict[str, Model | None] = dict.fromkeys(wanted)
        for model, at in wanted.items():
            try:
                found[model] = self.find_model(model)
            except ModelError as error:
                self._wrong(at, str(error))
            except ConfigError as error:
                self.problems += error.problems
            except (OSError, RuntimeError, ValueError) as error:
                # What pathlib says to a name that no file can have, or to the home of nobody.
                self._wrong(at, f"{quoted(model)} cannot be a model's name or path: {error}")
        return found

    def _all_classes(self, models: dict[str, Model | None], groups: dict[str, tuple[str, ...]]) -> Vocabulary:
        """The words of all models of the file together."""
        known = [model.classes for model in models.values() if model is not None]
        every = tuple(dict.fromkeys(name for classes in known for name in classes))
        complete = len(known) == len(models)
        return Vocabulary(" or ".join(models), every if complete else None, groups, self.models_with)

    def _groups(self, file: PipelineFile, models: dict[str, Model | None]) -> dict[str, tuple[str, ...]]:
        """Group -> classes. A group with a mistake has none, so that its users are not blamed as well."""
        flawed: set[PathPart] = set()

        def wrong(steps: Sequence[PathPart], message: str) -> None:
            flawed.add(steps[0])
            self._wrong(("groups", *steps), message, key=len(steps) == 1)

        classes = {name: model.classes if model else None for name, model in models.items()}
        check_groups(file.groups, classes, self.models_with, wrong)
        groups: dict[str, tuple[str, ...]] = dict.fromkeys(sorted(self.group_names), ())
        for name, members in file.groups.items():
            self._check_name(("groups", name))
            if name not in flawed:
                groups[name] = tuple(members)
        return groups

    def _check_remote(self, name: str, camera: CameraFile, file: PipelineFile) -> None:
        at: KeyPath = ("cameras", name, "remote") if camera.remote else ("remote",)
        own: KeyPath = ("cameras", name, "engine") if camera.engine else ("engine",)
        flaw = remote_flaw(camera.engine or file.engine, camera.remote, file.remote)
        if flaw is not None and not {(), ("cameras", name), at} & self.broken:
            self._wrong(at if camera.remote else own, flaw, key=camera.remote is not None)
        written = camera.remote or file.remote
        if written is not None and written.ca_file and not all(one.tls for one in servers(written)):
            self._wrong((*at, "ca_file"), "is for TLS; write grpcs:// in url, or remove it", key=True)

    def _check_engine_and_input(
        self, name: str, camera: CameraFile, file: PipelineFile, model: Model
    ) -> None:
        engine, size = camera.engine or file.engine, camera.input or file.input
        able = [artefact for artefact in model.artefacts if artefact.format in formats(engine)]
        if not able:
            has = ", ".join(sorted({artefact.format for artefact in model.artefacts}))
            at: KeyPath = ("cameras", name, "engine") if camera.engine else ("engine",)
            runs = " and ".join(formats(engine))
            self._wrong(at, f"{engine} runs {runs}, the model {model.name} has {has}")
        elif size is not None:
            at = ("cameras", name, "input") if camera.input else ("input",)
            refusals = [artefact.input.refusal(size) for artefact in able]
            if None not in refusals:
                self._wrong(at, f"got {refusals[0]} (model {model.name})")
        flaw = refine_flaw(camera.refine, engine, model, able, size or model.input.size_px)
        if flaw is not None:
            self._wrong(("cameras", name, "refine"), flaw)

    def _camera(
        self, name: str, camera: CameraFile, file: PipelineFile, vocabulary: Vocabulary
    ) -> CameraSettings:
        at: KeyPath = ("cameras", name)
        ground = self._ground((*at, "ground"), camera.ground)
        return CameraSettings(
            name=name,
            source=self._source((*at, "source"), camera.source),
            model=vocabulary.model,
            engine=camera.engine or file.engine,
            input_size_px=camera.input or file.input,
            remote=remote_settings(camera.engine or file.engine, camera.remote or file.remote),
            rate_fps=DEFAULT_RATE_FPS if camera.rate is None else camera.rate,
            fit=camera.fit,
            priority=DEFAULT_PRIORITY if camera.priority is None else camera.priority,
            max_age_s=camera.max_age,
            gate=_gate(camera.gate),
            decode=self._decode((*at, "decode"), camera),
            steady=camera.steady,
            refine=camera.refine,
            health=health_settings(camera.health),
            repeat=self._repeat((*at, "repeat"), camera),
            evidence=evidence_of_camera(
                Written(name, camera.source, file.evidence, camera.evidence), vocabulary, self._wrong
            ),
            zones=tuple(
                self._zone((*at, "zones"), zone_name, zone, vocabulary, ground)
                for zone_name, zone in camera.zones.items()
            ),
        )

    def _source(self, at: KeyPath, text: str) -> SourceUrl:
        try:
            return addresses.source(text)
        except ValueError as error:
            self._wrong(at, str(error))
            return SourceUrl(template="", url=None, shown="")

    def _ground(self, at: KeyPath, file: GroundFile | None) -> CameraGround:
        if file is None:
            # Where the whole key was wrong that was told already.
            return CameraGround(None, flawed=at[:-1] in self.broken)
        whole = at not in self.broken
        settings = ground_settings(file, whole, lambda steps, said: self._wrong((*at, *steps), said))
        return CameraGround(settings, flawed=settings is None)

    def _decode(self, at: KeyPath, camera: CameraFile) -> DecodeName:
        own = launch_line.pipeline_of(camera.source) is not None or camera.source.lower().startswith("csi://")
        if own and camera.decode is not None:
            self._wrong(at, "has no effect there: a GStreamer pipeline names its own decoder", key=True)
        return camera.decode or "software"

    def _repeat(self, at: KeyPath, camera: CameraFile) -> bool:
        own = launch_line.pipeline_of(camera.source) is not None
        if camera.repeat and (own or ("://" in camera.source and not camera.source.startswith("file://"))):
            self._wrong(at, "has no effect there: only a clip or a folder of pictures has an end", key=True)
        return bool(camera.repeat)

    def _zone(
        self,
        above: KeyPath,
        name: str,
        zone: ZoneFile,
        vocabulary: Vocabulary,
        ground: CameraGround,
    ) -> ZoneSettings:
        at = (*above, name)
        self._check_name(at)
        before = len(self.problems)
        include = self._polygons((*at, "polygon"), zone.polygon)
        exclude = self._polygons((*at, "exclude"), zone.exclude) if zone.exclude is not None else ()
        points = sum(len(polygon) for polygon in (*include, *exclude))
        if points > geometry.MAX_ZONE_POINTS:
            most = geometry.MAX_ZONE_POINTS
            self._wrong(
                (*at, "polygon"),
                f"{points} points in all polygons of the zone, {most} are the most; use fewer, or two zones",
            )
        elif len(self.problems) == before and not covers(LEAST_AREA, include, exclude):
            what = "exclude leaves nothing of it" if exclude else "it is too small to measure"
            self._wrong((*at, "polygon"), f"encloses less than 0.001 % of the picture; {what}")
        on_ground = ground.of_zone(include, exclude)
        return ZoneSettings(
            name=name,
            title=zone.name or names.title_of(name),
            include=include,
            exclude=exclude,
            confidence_floor=DEFAULT_CONFIDENCE_FLOOR if zone.confidence is None else zone.confidence,
            rules=tuple(self._rules((*at, "rules"), zone, vocabulary, on_ground)),
            max_uncertain=DEFAULT_MAX_UNCERTAIN if zone.max_uncertain is None else zone.max_uncertain,
            ground=ground.settings if on_ground.m2 is not None else None,
            ground_m2=on_ground.m2,
        )

    def _rules(
        self, above: KeyPath, zone: ZoneFile, vocabulary: Vocabulary, ground: ZoneGround
    ) -> list[RuleSettings]:
        built = []
        for name, rule in zone.rules.items():
            at: KeyPath = (*above, name)
            self._check_name(at)

            def report(steps: Sequence[PathPart], message: str, at: KeyPath = at) -> None:
                self._wrong((*at, *steps), message, key=not steps)

            settings = build_rule(
                name, rule, vocabulary, whole=at not in self.broken, report=report, ground=ground
            )
            if settings is not None:
                built.append(settings)
        return built

    def _polygons(self, at: KeyPath, value: object) -> tuple[Polygon, ...]:
        polygons, flaws = geometry.read_polygons(value)
        for flaw in flaws:
            self._wrong((*at, *flaw.steps), flaw.message)
        return polygons

    def _homeassistant(self, file: PipelineFile) -> HomeAssistantSettings | None:
        settings = homeassistant_settings(file.homeassistant)
        if settings is not None and file.mqtt is None and () not in self.broken:
            self._wrong(
                ("homeassistant",),
                "needs mqtt beside it: Home Assistant finds devices by its broker",
                key=True,
            )
        return settings

    def _mqtt(self, file: MqttFile) -> MqttSettings:
        broker = addresses.broker(file.url)
        if file.password_file is not None and file.username is None and ("mqtt",) not in self.broken:
            self._wrong(("mqtt", "password_file"), "needs username beside it", key=True)
        if file.ca_file is not None and not broker.tls:
            self._wrong(("mqtt", "ca_file"), "is for TLS; write mqtts:// in url, or remove it", key=True)
        return MqttSettings(
            host=broker.host,
            port=broker.port,
            tls=broker.tls,
            ca_file=file.ca_file,
            username=file.username,
            password=None,
            password_file=file.password_file,
            prefix=file.prefix,
            commands=file.commands,
            alert_ttl_s=file.alert_ttl,
        )

    def _web(self, file: WebFile) -> WebSettings:
        place = listen(file.listen)
        if file.token_file is None and ("web",) not in self.broken and (file.hosts or not place.loopback):
            what = "hosts means that others reach it" if place.loopback else "others reach it there"
            self._wrong(
                ("web", "hosts" if place.loopback else "listen"),
                f"{what}: that needs token_file beside it (openssl rand -hex 16 > web_token)",
            )
        return WebSettings(place.host, place.port, file.token_file, hosts=tuple(file.hosts))


def _gate(gate: GateFile | None) -> GateSettings | None:
    if gate is None:
        return DEFAULT_GATE
    if not gate.motion:
        return None
    return GateSettings(
        refresh_s=DEFAULT_GATE.refresh_s if gate.refresh is None else gate.refresh,
        sensitivity=gate.sensitivity or DEFAULT_GATE.sensitivity,
        keyframes=gate.keyframes,
    )


def covers(area: float, include: Sequence[Polygon], exclude: Sequence[Polygon]) -> bool:
    """Whether the union of ``include`` less that of ``exclude`` covers this share of the picture, 0-1."""
    rings = [[np.array(polygon) for polygon in polygons] for polygons in (include, exclude)]
    covered = area_in_cells(rings[0], rings[1], rectangle(0, 0, 1, 1), (1, 1))
    return bool(covered.sum() >= area)

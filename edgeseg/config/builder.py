"""Builder: turns the validated keys of a pipeline file into settings, and collects all problems.

Each key's own checks and defaults are in its file in ``keys``; the builder visits the keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeseg.config import names
from edgeseg.config.classes import ModelsWith, Vocabulary
from edgeseg.config.keys import camera as camera_keys
from edgeseg.config.keys.budget import budget_settings
from edgeseg.config.keys.camera import CameraFile
from edgeseg.config.keys.engine import usable_artefacts
from edgeseg.config.keys.evidence import Written, check_people, evidence_budget, evidence_settings
from edgeseg.config.keys.gate import gate_settings
from edgeseg.config.keys.ground import camera_ground
from edgeseg.config.keys.groups import FileClasses, group_settings
from edgeseg.config.keys.health import health_settings
from edgeseg.config.keys.homeassistant import homeassistant_settings
from edgeseg.config.keys.model import FindModel, find_model, model_name
from edgeseg.config.keys.mqtt import mqtt_settings
from edgeseg.config.keys.pipeline import PipelineFile
from edgeseg.config.keys.refine import refine_error
from edgeseg.config.keys.remote import remote_settings
from edgeseg.config.keys.web import web_settings
from edgeseg.config.keys.zones import zones_settings
from edgeseg.config.report import Report
from edgeseg.models.model import Model
from edgeseg.settings import CameraSettings, PipelineSettings, RemoteSettings


@dataclass(slots=True)
class Builder:
    """Builds the settings of one file.

    file: its keys. report: of the whole file. folder: from which relative model paths start.
    group_names: all groups of the file, those with invalid values too.
    """

    file: PipelineFile
    report: Report
    folder: Path
    find_model: FindModel
    models_with: ModelsWith
    group_names: frozenset[str]

    def pipeline(self) -> PipelineSettings:
        """Return the settings; only to be used where the report has no problems afterwards."""
        file, report = self.file, self.report
        models = self._models()
        classes = {name: model.classes if model else None for name, model in models.items()}
        groups = group_settings(
            file.groups, self.group_names, FileClasses(classes, self.models_with), report.below("groups")
        )
        check_people(file.evidence, self._all_classes(models, groups), report.below("evidence"))
        return PipelineSettings(
            file=report.places.file,
            digest=report.places.digest,
            node=file.node or names.default_node(),
            groups=groups,
            cameras=tuple(
                self._camera(name, camera, models, groups) for name, camera in file.cameras.items()
            ),
            mqtt=mqtt_settings(file.mqtt, report.below("mqtt")) if file.mqtt is not None else None,
            homeassistant=homeassistant_settings(
                file.homeassistant,
                report.below("homeassistant"),
                has_broker=file.mqtt is not None or not report.complete,
            ),
            web=web_settings(file.web, report.below("web")) if file.web is not None else None,
            budget=budget_settings(file.budget),
            evidence_budget=evidence_budget(file.evidence),
        )

    def _models(self) -> dict[str, Model | None]:
        """Return every model that the file names or takes by default; None for one that was not found."""
        file, report = self.file, self.report
        reports = {model_name(file.model, self.folder): report.below("model")} if file.model else {}
        for name, camera in file.cameras.items():
            model = model_name(camera.model or file.model, self.folder)
            reports.setdefault(model, report.below("cameras", name, "model"))
        return {name: find_model(name, self.find_model, here) for name, here in reports.items()}

    def _all_classes(self, models: dict[str, Model | None], groups: dict[str, tuple[str, ...]]) -> Vocabulary:
        """Return the terms of all models of the file together."""
        known = [model.classes for model in models.values() if model is not None]
        every = tuple(dict.fromkeys(name for classes in known for name in classes))
        complete = len(known) == len(models)
        return Vocabulary(" or ".join(models), every if complete else None, groups, self.models_with)

    def _camera(
        self,
        name: str,
        file: CameraFile,
        models: dict[str, Model | None],
        groups: dict[str, tuple[str, ...]],
    ) -> CameraSettings:
        report = self.report.below("cameras", name)
        names.check_name(report)
        model = model_name(file.model or self.file.model, self.folder)
        classes = found.classes if (found := models[model]) else None
        vocabulary = Vocabulary(model, classes, groups, self.models_with)
        # A ground that is missing because its whole key was invalid has been reported.
        ground = camera_ground(file.ground, report.below("ground"), missing=not report.complete)
        settings = CameraSettings(
            name=name,
            source=camera_keys.source_settings(file.source, report.below("source")),
            model=model,
            engine=file.engine or self.file.engine,
            input_size_px=file.input or self.file.input,
            remote=self._remote(file, report),
            rate_fps=camera_keys.DEFAULT_RATE_FPS if file.rate is None else file.rate,
            fit=file.fit,
            priority=camera_keys.DEFAULT_PRIORITY if file.priority is None else file.priority,
            max_age_s=file.max_age,
            gate=gate_settings(file.gate),
            decode=camera_keys.decode_settings(file, report.below("decode")),
            steady=file.steady,
            refine=file.refine,
            health=health_settings(file.health),
            repeat=camera_keys.repeat_settings(file, report.below("repeat")),
            evidence=evidence_settings(self._evidence(name, file, report), vocabulary),
            zones=zones_settings(file.zones, vocabulary, ground, report.below("zones")),
        )
        if found is not None:
            self._check_model(file, settings, found, report)
        return settings

    def _evidence(self, name: str, file: CameraFile, report: Report) -> Written:
        return Written(
            camera=name,
            source=file.source,
            own=file.evidence,
            common=self.file.evidence,
            own_report=report.below("evidence"),
            common_report=self.report.below("evidence"),
        )

    def _remote(self, file: CameraFile, report: Report) -> RemoteSettings | None:
        own = file.remote is not None
        remote_report = (report if own else self.report).below("remote")
        return remote_settings(
            file.engine or self.file.engine,
            file.remote or self.file.remote,
            own=own,
            complete=self.report.complete and report.complete and remote_report.complete,
            engine_report=(report if file.engine else self.report).below("engine"),
            report=remote_report,
        )

    def _check_model(self, file: CameraFile, settings: CameraSettings, model: Model, report: Report) -> None:
        """Report what the camera's model cannot do."""
        usable = usable_artefacts(
            model,
            settings.engine,
            settings.input_size_px,
            engine_report=(report if file.engine else self.report).below("engine"),
            input_report=(report if file.input else self.report).below("input"),
        )
        size_px = settings.input_size_px or model.input.size_px
        error = refine_error(settings.refine, settings.engine, model, usable, size_px)
        if error is not None:
            report.error(error, ("refine",))

"""A recipe: everything that decides how a network is trained, except the pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edgeseg.errors import ConfigError, ModelError, Problem
from edgeseg.yamlfile import suggestion
from edgeseg.zoo.augment import Augmentation


@dataclass(frozen=True, slots=True)
class Loss:
    """Weights of the parts. hardest: share of pixels that count (1 turns hard mining off).

    distill: weight of a teacher's answers, imitate: of its features; 0 and 0 need no teacher. soft: of soft
    targets without a label, soft_labelled: of those with one; either makes all losses be taken on the
    network's own grid.
    """

    weight_power: float = 0.7
    hardest: float = 0.5
    dice: float = 0.5
    auxiliary: float = 0.25
    distill: float = 0.0
    imitate: float = 0.0
    soft: float = 0.0
    soft_labelled: float = 0.0


@dataclass(frozen=True, slots=True)
class Optimizer:
    """AdamW with poly decay; the trunk learns slower than the fresh head. ema: decay per step.

    clip: largest norm of all gradients together. classifier_rate: of the last layers; 0 means head_rate.
    """

    trunk_rate: float = 4e-4
    head_rate: float = 1.5e-3
    classifier_rate: float = 0.0
    weight_decay: float = 0.01
    warmup_steps: int = 60
    power: float = 0.9
    ema: float = 0.99
    clip: float = 5.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """initial: name of a folded .npz below ``--weights`` that fills the trunk, or None for random.

    classes: names in the order of the label values. validate_every: in steps; validate_scale: the
    picture is enlarged by this for validation, as the shipped model's input will be. keep_every: in
    validations; the average is then kept under its step too, for an average of averages; 0 keeps none.
    shares: how often pictures whose names begin so (``coco_``, ``labelled/coco_``) are drawn, against 1 for
    all others; the first that fits counts.
    """

    network: str
    classes: tuple[str, ...]
    steps: int
    batch: int = 6
    seed: int = 1
    initial: str | None = None
    validate_every: int = 250
    validate_scale: float = 1.0
    keep_every: int = 0
    shares: Mapping[str, float] = dataclasses.field(default_factory=dict)
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    loss: Loss = dataclasses.field(default_factory=Loss)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)


PARTS = {"augmentation": Augmentation, "loss": Loss, "optimizer": Optimizer}


SHIPPED = Path(__file__).parent / "recipes"


def find_recipe(name: str) -> Path:
    """A recipe file by its path, or one that comes with edgeseg by its name. Raises ModelError."""
    path = Path(name)
    if path.is_file() or path.suffix in (".yaml", ".yml"):
        return path
    shipped = SHIPPED / f"{name}.yaml"
    if shipped.parent == SHIPPED and shipped.is_file():
        return shipped
    known = sorted(found.stem for found in SHIPPED.glob("*.yaml"))
    raise ModelError(
        f"no recipe '{name}': expected a file, or one of {', '.join(known)}{suggestion(name, known)}"
    )


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file. Raises ConfigError with all its unknown, missing and ill-typed keys at once.

    ``augmentation.rare`` lists class names in the file and indices in the object.
    """
    try:
        raw = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise ConfigError([Problem(str(path), 0, 0, "", f"not a readable YAML file: {said}")]) from error
    if not isinstance(raw, dict):
        raise ConfigError([Problem(str(path), 0, 0, "", "expected keys such as network, classes, steps")])
    problems: list[Problem] = []
    values = _known(raw, Recipe, "", path, problems)
    classes = tuple(str(name) for name in values.get("classes") or ())
    values["classes"] = classes
    for key, kind in PARTS.items():
        part = _known(raw.get(key) or {}, kind, f"{key}.", path, problems)
        if key == "augmentation":
            unknown = [name for name in part.get("rare", ()) if name not in classes]
            for name in unknown:
                problems.append(Problem(str(path), 0, 0, "augmentation.rare", f"{name!r} is not in classes"))
            part["rare"] = tuple(classes.index(name) for name in part.get("rare", ()) if name in classes)
        part = {name: tuple(value) if isinstance(value, list) else value for name, value in part.items()}
        values[key] = kind(**part)
    for name in ("network", "classes", "steps"):
        if not values.get(name):
            problems.append(Problem(str(path), 0, 0, name, "missing"))
    if problems:
        raise ConfigError(problems)
    return Recipe(**values)


def _known(
    raw: Mapping[str, Any], kind: type, prefix: str, path: Path, problems: list[Problem]
) -> dict[str, Any]:
    if not isinstance(raw, dict):
        problems.append(Problem(str(path), 0, 0, prefix.rstrip("."), "expected keys and values"))
        return {}
    fields = {field.name: field for field in dataclasses.fields(kind)}
    kept: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in fields:
            message = f"unknown key; expected one of {', '.join(fields)}"
            problems.append(Problem(str(path), 0, 0, f"{prefix}{key}", message))
            continue
        annotation = str(fields[key].type)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if (annotation == "int" and type(value) is not int) or (annotation == "float" and not number):
            problems.append(Problem(str(path), 0, 0, f"{prefix}{key}", f"{value!r}, expected a number"))
            continue
        kept[key] = float(value) if annotation == "float" else value
    return kept

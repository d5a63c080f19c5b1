"""The key ``groups``: names for several classes together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgeseg.config.classes import ModelsWith, class_hint
from edgeseg.config.names import check_name
from edgeseg.config.report import Report
from edgeseg.yamlfile import quoted


@dataclass(frozen=True, slots=True)
class FileClasses:
    """The classes of all models that the file names.

    by_model: model -> its classes; None for a model that was not found, whose classes may be any.
    models_with: see ``classes``.
    """

    by_model: Mapping[str, tuple[str, ...] | None]
    models_with: ModelsWith

    @property
    def complete(self) -> bool:
        """Whether every model was found."""
        return None not in self.by_model.values()


def group_settings(
    file: Mapping[str, Sequence[str]], names: Iterable[str], classes: FileClasses, report: Report
) -> dict[str, tuple[str, ...]]:
    """Return the classes of each group. A group with a mistake has none, so that its users are not wrong too.

    Args:
        file: group -> classes as written. A group holds classes of the file's models, each once, and has
            another name than each of them.
        names: of all groups of the file, those with invalid values too.
        classes: of the file's models.
        report: of the key ``groups``.
    """
    groups: dict[str, tuple[str, ...]] = dict.fromkeys(sorted(names), ())
    for name, members in file.items():
        here, before = report.below(name), report.count
        _check_group(name, members, file, classes, here)
        valid = report.count == before
        check_name(here)
        if valid:
            groups[name] = tuple(members)
    return groups


def _check_group(
    name: str,
    members: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    classes: FileClasses,
    report: Report,
) -> None:
    known = {one: model for model, listed in classes.by_model.items() for one in listed or ()}
    if name in known:
        report.error(f"is already a class of the model {known[name]}; name the group differently", key=True)
    for index, member in enumerate(members):
        if member in members[:index]:
            report.error(f"{quoted(member)} is here twice", (index,))
        elif member in groups and member not in known:
            report.error(f"{quoted(member)} is a group itself; a group lists classes", (index,))
        elif classes.complete and member not in known:
            models = sorted(classes.by_model)
            hint = class_hint(member, known, models, classes.models_with)
            report.error(f"no class {quoted(member)} in the model {' or '.join(models)}{hint}", (index,))

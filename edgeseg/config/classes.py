"""Which classes a word in a rule stands for: a class of the camera's model, or a group of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgeseg.yamlfile import Step, nearest, shown

Report = Callable[[Sequence[Step], str], None]
"""Takes the steps below the list of words to what is wrong, and the message."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words usable with one camera.

    classes: of its model; None where the model is not known, then every word passes.
    groups: name -> classes of any model of the file.
    """

    model: str
    classes: tuple[str, ...] | None
    groups: Mapping[str, tuple[str, ...]]

    def classes_of_terms(self, terms: Sequence[str], report: Report) -> tuple[str, ...]:
        """The model's classes behind ``terms``, each once, in the order of the words."""
        found: dict[str, None] = {}
        for index, term in enumerate(terms):
            if term in terms[:index]:
                report([index], f"{shown(term)} is here twice")
                continue
            members = self.groups.get(term)
            if members is not None:
                known = [name for name in members if self.classes is None or name in self.classes]
                if not known and members:
                    report([index], f"the group {shown(term)} has no class of the model {self.model}")
                found.update(dict.fromkeys(known))
            elif self.classes is None or term in self.classes:
                found[term] = None
            else:
                hint = nearest(term, (*self.classes, *self.groups))
                report([index], f"the model {self.model} has no class {shown(term)}{hint}")
        return tuple(found)


def check_groups(
    groups: Mapping[str, Sequence[str]],
    classes_by_model: Mapping[str, tuple[str, ...] | None],
    report: Report,
) -> None:
    """Groups hold classes of the file's models, each once, and are not named like one.

    classes_by_model: None for a model that could not be found, whose classes may be any.
    """
    known = {name: model for model, classes in classes_by_model.items() for name in classes or ()}
    complete = None not in classes_by_model.values()
    for group, members in groups.items():
        if group in known:
            report([group], f"is already a class of the model {known[group]}; name the group differently")
        for index, member in enumerate(members):
            at: list[Step] = [group, index]
            if member in members[:index]:
                report(at, f"{shown(member)} is here twice")
            elif member in groups and member not in known:
                report(at, f"{shown(member)} is a group itself; a group lists classes")
            elif complete and member not in known:
                models = " or ".join(sorted(set(known.values())))
                report(at, f"no class {shown(member)} in the model {models}{nearest(member, known)}")

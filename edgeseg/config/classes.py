"""Which classes a word in a rule stands for: a class of the camera's model, or a group of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgeseg.yamlfile import PathPart, quoted, suggestion

Report = Callable[[Sequence[PathPart], str], None]
"""Takes the steps below the list of words to what is wrong, and the message."""

# As many as one line of an error can list.
_FEW = 12


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words usable with one camera.

    classes: of its model; None where the model is not known, then every word passes.
    groups: name -> classes of any model of the file.
    models_with: class -> names of the installed models that have it.
    """

    model: str
    classes: tuple[str, ...] | None
    groups: Mapping[str, tuple[str, ...]]
    models_with: Callable[[str], tuple[str, ...]]

    def classes_of_terms(self, terms: Sequence[str], report: Report) -> tuple[str, ...]:
        """The model's classes behind ``terms``, each once, in the order of the words."""
        found: dict[str, None] = {}
        for index, term in enumerate(terms):
            if term in terms[:index]:
                report([index], f"{quoted(term)} is here twice")
                continue
            members = self.groups.get(term)
            if members is not None:
                known = [name for name in members if self.classes is None or name in self.classes]
                if not known and members:
                    report([index], f"the group {quoted(term)} has no class of the model {self.model}")
                found.update(dict.fromkeys(known))
            elif self.classes is None or term in self.classes:
                found[term] = None
            else:
                hint = _hint(term, (*self.classes, *self.groups), [self.model], self.models_with)
                report([index], f"the model {self.model} has no class {quoted(term)}{hint}")
        return tuple(found)


def check_groups(
    groups: Mapping[str, Sequence[str]],
    classes_by_model: Mapping[str, tuple[str, ...] | None],
    models_with: Callable[[str], tuple[str, ...]],
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
            at: list[PathPart] = [group, index]
            if member in members[:index]:
                report(at, f"{quoted(member)} is here twice")
            elif member in groups and member not in known:
                report(at, f"{quoted(member)} is a group itself; a group lists classes")
            elif complete and member not in known:
                models = sorted(classes_by_model)
                hint = _hint(member, known, models, models_with)
                report(at, f"no class {quoted(member)} in the model {' or '.join(models)}{hint}")


def _hint(
    word: str, known: Iterable[str], models: Sequence[str], models_with: Callable[[str], tuple[str, ...]]
) -> str:
    """To append to what is said of an unknown class: which model has it, which word is near, or where all
    are listed. models: those of the file, whose classes are ``known``."""
    others = models_with(word)
    if others:
        last = " and ".join([", ".join(others[:-1]), others[-1]] if others[1:] else others)
        return f"; {last} {'has' if len(others) == 1 else 'have'} it"
    words = set(known)
    near = suggestion(word, words)
    if "did you mean" in near or len(words) <= _FEW:
        return near
    shows = " or ".join(f"`edgeseg models show {model}`" for model in models)
    return f"; see its classes with {shows}"

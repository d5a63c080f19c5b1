"""Classes: which classes of a model a term in a rule stands for, itself or those of a group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgeseg.config.report import Report
from edgeseg.yamlfile import quoted, suggestion

ModelsWith = Callable[[str], tuple[str, ...]]
"""Class -> names of the installed models that have it."""

# As many as one line of an error can list.
_FEW = 12


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The terms usable with one camera.

    classes: of its model; None where the model is not known, then every term passes.
    groups: name -> classes of any model of the file.
    """

    model: str
    classes: tuple[str, ...] | None
    groups: Mapping[str, tuple[str, ...]]
    models_with: ModelsWith

    def classes_of_terms(self, terms: Sequence[str], report: Report) -> tuple[str, ...]:
        """Return the model's classes behind ``terms``, each once, in the order of the terms.

        report: of the list of terms.
        """
        found: dict[str, None] = {}
        for index, term in enumerate(terms):
            here = report.below(index)
            if term in terms[:index]:
                here.error(f"{quoted(term)} is here twice")
            else:
                found.update(dict.fromkeys(self.classes_of_term(term, here)))
        return tuple(found)

    def classes_of_term(self, term: str, report: Report) -> tuple[str, ...]:
        """Return the model's classes behind one term; none after reporting an unknown one."""
        members = self.groups.get(term)
        if members is not None:
            known = tuple(name for name in members if self.classes is None or name in self.classes)
            if not known and members:
                report.error(f"the group {quoted(term)} has no class of the model {self.model}")
            return known
        if self.classes is None or term in self.classes:
            return (term,)
        hint = class_hint(term, (*self.classes, *self.groups), [self.model], self.models_with)
        report.error(f"the model {self.model} has no class {quoted(term)}{hint}")
        return ()


def class_hint(term: str, known: Iterable[str], models: Sequence[str], models_with: ModelsWith) -> str:
    """Return what to append to the error about an unknown class.

    Args:
        term: the unknown class.
        known: classes and groups that could have been meant.
        models: those of the file, whose classes are ``known``.
        models_with: finds the installed models that have the class.

    Returns:
        Which model has it, which name is near, or where all names are listed.
    """
    others = models_with(term)
    if others:
        last = " and ".join([", ".join(others[:-1]), others[-1]] if others[1:] else others)
        return f"; {last} {'has' if len(others) == 1 else 'have'} it"
    names = set(known)
    near = suggestion(term, names)
    if "did you mean" in near or len(names) <= _FEW:
        return near
    shows = " or ".join(f"`edgeseg models show {model}`" for model in models)
    return f"; see its classes with {shows}"

"""The key ``budget``: how much of the device edgeseg may use."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from edgeseg.config.fields import Keys, Share, between
from edgeseg.settings import BudgetSettings
from edgeseg.yamlfile import quoted


class BudgetFile(Keys, title="budget"):
    """Above it cameras get smaller inputs and lower rates, by priority, as where a device cannot keep up."""

    cpu: Annotated[Share, AfterValidator(between(0.05, 1.0))] | None = Field(
        None, description="Share of all cores, `60 %`, everything that edgeseg does included."
    )
    watts: (
        Annotated[
            float,
            AfterValidator(between(0.5, 1000.0)),
            WithJsonSchema({"type": "number", "minimum": 0.5, "maximum": 1000}),
        ]
        | None
    ) = Field(
        None,
        description="Of the processor, with all other programs; for devices whose kernel counts its energy "
        "where edgeseg may read it (/sys/class/powercap/intel-rapl:*/energy_uj).",
    )


def _budget_keys(value: object) -> object:
    """``budget: 60 %``, of what?"""
    if isinstance(value, dict) and not value:
        raise ValueError("is empty; expected {cpu: 60 %}")
    if not isinstance(value, (dict, BudgetFile)):
        raise ValueError(f"got {quoted(value)}, expected {{cpu: 60 %}}")
    return value


Budget = Annotated[BudgetFile, BeforeValidator(_budget_keys)]


def budget_settings(file: BudgetFile | None) -> BudgetSettings | None:
    return None if file is None else BudgetSettings(file.cpu, file.watts)

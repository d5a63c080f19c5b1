"""The key ``budget``: how much of the device edgeseg may use."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from edgeseg.config.fields import Keys, Share, between
from edgeseg.settings import BudgetSettings
from edgeseg.yamlfile import quoted

# Shares of all cores, and watts of the processor.
LEAST_CPU, MOST_CPU = 0.05, 1.0
LEAST_WATTS, MOST_WATTS = 0.5, 1000


class BudgetFile(Keys, title="budget"):
    """Above it cameras get smaller inputs and lower rates, by priority, as where a device cannot keep up."""

    cpu: Annotated[Share, AfterValidator(between(LEAST_CPU, MOST_CPU))] | None = Field(
        None, description="Share of all cores, `60 %`, everything that edgeseg does included."
    )
    watts: (
        Annotated[
            float,
            AfterValidator(between(LEAST_WATTS, MOST_WATTS)),
            WithJsonSchema({"type": "number", "minimum": LEAST_WATTS, "maximum": MOST_WATTS}),
        ]
        | None
    ) = Field(
        None,
        description="Of the processor, with all other programs; for devices whose kernel counts its energy "
        "where edgeseg may read it (/sys/class/powercap/intel-rapl:*/energy_uj).",
    )


def _budget_keys(value: object) -> object:
    """Refuse ``budget: 60 %``, which names no resource."""
    if isinstance(value, dict) and not value:
        raise ValueError("is empty; expected {cpu: 60 %}")
    if not isinstance(value, (dict, BudgetFile)):
        raise ValueError(f"got {quoted(value)}, expected {{cpu: 60 %}}")
    return value


Budget = Annotated[BudgetFile, BeforeValidator(_budget_keys)]


def budget_settings(file: BudgetFile | None) -> BudgetSettings | None:
    """Return the limits, None without the key."""
    return None if file is None else BudgetSettings(file.cpu, file.watts)

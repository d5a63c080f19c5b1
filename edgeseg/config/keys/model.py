"""The key ``model``: the network of a camera, by its name or its path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import Field

from edgeseg.config.report import Report
from edgeseg.errors import ConfigError, ModelError
from edgeseg.models.model import Model
from edgeseg.settings import DEFAULT_MODEL
from edgeseg.yamlfile import quoted

ModelName = Annotated[str, Field(min_length=1)]

FindModel = Callable[[str], Model]
"""Model name or absolute path -> the model. Raises ModelError or ConfigError."""


def model_name(file: str | None, folder: Path) -> str:
    """Return the model's name, or its absolute path where the file gives a path.

    folder: the pipeline file's, from which relative paths start.
    """
    name = file or DEFAULT_MODEL
    is_path = "/" in name or name.endswith((".yaml", ".onnx", ".tflite"))
    return str((folder / name).absolute()) if is_path and not name.startswith("~") else name


def find_model(name: str, find: FindModel, report: Report) -> Model | None:
    """Return the model, or None after reporting why it cannot be used."""
    try:
        return find(name)
    except ModelError as error:
        report.error(str(error))
    except ConfigError as error:
        report.add(error.problems)
    except (OSError, RuntimeError, ValueError) as error:
        # From pathlib: a name that no file can have, or the home of a user that does not exist.
        report.error(f"{quoted(name)} cannot be a model's name or path: {error}")
    return None

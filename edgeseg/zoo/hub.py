"""Checkpoints at Hugging Face, fetched into its own cache."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download  # type: ignore[import-not-found]
from huggingface_hub.errors import (  # type: ignore[import-not-found]
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
)

from edgeseg.errors import ModelError

PARTS = ("config.json", "preprocessor_config.json", "*.safetensors", "pytorch_model.bin")


def fetch_checkpoint(hub_id: str) -> Path:
    """The folder of a public checkpoint called OWNER/NAME; from the cache where it is there already.

    Raises ModelError if there is none of this name, or the network is away.
    """
    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(PARTS)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        said = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{hub_id}: cannot be fetched from Hugging Face ({type(error).__name__}: {said}); offline: fetch "
            f"its {', '.join(PARTS[:2])} and weights elsewhere and name their folder"
        ) from None

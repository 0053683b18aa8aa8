"""What prepared rows depend on, as one digest: inputs and settings that agree in it give the same rows. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from modelgarden.api.pods import RunConfig
from modelgarden_train.data.rows import canonical

PREPARATION: Final = 4
"""Raise it with every change of what prepare makes of the same rows, so that none of before is taken for it."""
LIBRARIES: Final = (
    "transformers",
    "tokenizers",
    "jinja2",
    "rensa",
    "alt-profanity-check",
    "detect-secrets",
    "pyarrow",
    "pillow",
)
"""That take part in it."""
_SECRETS: Final = {"__all__": {"token_secret_ref"}}


def identity_of(
    config: RunConfig, *, sources: Sequence[str], tokenizer: str, libraries: Mapping[str, str]
) -> str:
    """Return the SHA-256 over all that rows are made of and with; sources and tokenizer are given as digests."""
    parts = {
        "preparation": PREPARATION,
        "libraries": dict(libraries),
        "dataset": config.dataset.model_dump(
            mode="json", exclude={"sources": _SECRETS, "validation_sources": _SECRETS}
        ),
        "learned": not config.dry_run,
        "maxSequenceLength": config.training.max_sequence_length,
        "seed": config.training.seed,
        "sources": list(sources),
        "tokenizer": tokenizer,
    }
    if config.objective.type != "SFT":
        parts["objective"] = config.objective.type
    if config.vision is not None:
        parts["maxPixels"] = config.vision.max_pixels
    if config.training.rope_scaling is not None:
        parts["ropeScaling"] = config.training.rope_scaling.model_dump(mode="json")
    return hashlib.sha256(canonical(parts).encode()).hexdigest()

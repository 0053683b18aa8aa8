"""How long a row may be: as the spec says, and no longer than the base model has positions for.

Beyond them Unsloth would scale a model's positions (RoPE) while it is trained, which no merged model would know of;
where the spec scales them, its config.json says so (`models/rope.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelgarden.api.pods import RunConfig
from modelgarden_pod.errors import UserError


def longest_row(config: RunConfig, folder: Path) -> int:
    """Return the most tokens of a row, for the base model in a folder.

    Raises:
        UserError: ModelInvalid, its config.json is broken or of an unknown architecture.
    """
    from transformers import AutoConfig

    try:
        model = AutoConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # every library beneath raises its own
        raise UserError("ModelInvalid", f"the base model's config.json cannot be read: {error}") from error
    return within_positions(config, model)


def within_positions(config: RunConfig, model: Any) -> int:
    """Return the most tokens of a row, by a model's configuration as Transformers has it."""
    positions = getattr(model.get_text_config(), "max_position_embeddings", None)
    wanted = config.training.max_sequence_length
    return min(wanted, positions) if isinstance(positions, int) and positions > 0 else wanted

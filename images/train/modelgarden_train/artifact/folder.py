"""What lies beside the weights of a model, so that it can be served: configuration, generation settings, tokenizer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelgarden_train.models.vision import processor_files

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CONFIGURATION = "config.json"
_GENERATION = "generation_config.json"
_PROCESSORS = ("video_preprocessor_config.json", "vocab.json", "merges.txt")
"""Beside those of images, what Transformers and vLLM look for in a vision model's folder."""


def storage_dtype(base: Path) -> Any:
    """Return the 16-bit type to store: float16 where the base is float16, else bfloat16, which keeps float32's range."""
    import torch

    settings = _read(base / _CONFIGURATION)
    name = settings.get("dtype") or settings.get("torch_dtype")
    return torch.float16 if name == "float16" else torch.bfloat16


def write_beside(
    target: Path, *, base: Path, tokenizer: PreTrainedTokenizerBase, stop_tokens: Sequence[int]
) -> None:
    """Write all but the weights; answers end at the base's own tokens and at the stop tokens."""
    settings = _read(base / _CONFIGURATION)
    settings.pop("torch_dtype", None)  # the name that dtype had before Transformers 5
    dtype = str(storage_dtype(base)).removeprefix("torch.")
    _write(target / _CONFIGURATION, settings | {"dtype": dtype, "use_cache": True})
    generation = _read(base / _GENERATION) if (base / _GENERATION).is_file() else {}
    _write(
        target / _GENERATION,
        generation
        | {
            "eos_token_id": _ends(settings, generation, stop_tokens),
            "pad_token_id": tokenizer.pad_token_id,
        },
    )
    tokenizer.save_pretrained(target)


def write_processors(target: Path, *, base: Path, max_pixels: int) -> None:
    """Write every file of a vision model's processors that the base has, with the limit on pixels that was trained with.

    Not its older file of the chat template: what the tokenizer has written is what was trained with.
    """
    for name, settings in processor_files(base, max_pixels=max_pixels).items():
        _write(target / name, settings)
    for name in _PROCESSORS:
        if (base / name).is_file() and not (target / name).exists():
            shutil.copyfile(base / name, target / name)


def _ends(settings: dict[str, Any], generation: dict[str, Any], stop_tokens: Sequence[int]) -> list[int]:
    known = generation.get("eos_token_id", settings.get("eos_token_id"))
    known = [] if known is None else [known] if isinstance(known, int) else known
    return sorted({*known, *stop_tokens})


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")

"""The files of a base model: which ones are taken, and what they must be for a training that can be exported."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from modelgarden_pod.errors import UserError

CONFIGURATION = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")
WEIGHTS = ("*.safetensors",)
SAME_WEIGHTS_AGAIN = ("consolidated*",)
"""Beside the weights for Transformers, Mistral's repositories have them as its own software reads them."""
_BNB_SUFFIX = re.compile(r"(-unsloth)?-bnb-4bit$")


def is_wanted(name: str, *, weights: bool) -> bool:
    """Tell whether a file is taken; without weights, only what the tokenizer and the configuration need."""
    patterns = (*CONFIGURATION, *WEIGHTS) if weights else CONFIGURATION
    return (
        "/" not in name
        and any(fnmatch(name, pattern) for pattern in patterns)
        and not any(fnmatch(name, pattern) for pattern in SAME_WEIGHTS_AGAIN)
    )


def check_files(folder: Path, *, source: str, weights: bool) -> None:
    """Refuse a folder that is no base model to train, before hours are spent on it; without weights, what else it holds.

    Raises:
        UserError: ModelInvalid.
    """
    configuration = folder / "config.json"
    if not configuration.is_file():
        raise UserError(
            "ModelInvalid", f"{source} has no config.json; a Hugging Face model folder is expected"
        )
    try:
        settings = json.loads(configuration.read_text())
    except ValueError as error:
        raise UserError("ModelInvalid", f"config.json of {source} is not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise UserError("ModelInvalid", f"config.json of {source} is no JSON object")
    if (quantization := settings.get("quantization_config")) is not None:
        raise _quantized(source, quantization)
    if weights and not weight_files(folder):
        raise UserError(
            "ModelInvalid",
            f"{source} has no weights in safetensors; convert them (pickles are not loaded)",
        )


def _quantized(source: str, quantization: Any) -> UserError:
    """Return the refusal of weights that no adapter can be merged into in 16 bit, however long it was trained."""
    method = quantization.get("quant_method") if isinstance(quantization, dict) else None
    plain = _BNB_SUFFIX.sub("", source)
    return UserError(
        "ModelInvalid",
        f"{source} is quantized already{f' ({method})' if method else ''}; "
        f"set model.source to the 16-bit model that it was made of{f' ({plain})' if plain != source else ''}: "
        "method QLoRA quantizes it by itself",
    )


def weight_files(folder: Path) -> list[Path]:
    """Return the files of weights that Transformers loads, by name: the whole one, else the shards, else all there are.

    Raises:
        UserError: ModelInvalid, the index of the shards is damaged or names a file that is not there.
    """
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return [whole]
    if not index.is_file():
        return [path for path in sorted(folder.glob("*.safetensors")) if is_wanted(path.name, weights=True)]
    try:
        shards = sorted({folder / name for name in json.loads(index.read_text())["weight_map"].values()})
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError("ModelInvalid", f"{index.name} of the base model cannot be read: {error}") from error
    for path in shards:
        if not path.is_file():
            raise UserError(
                "ModelInvalid",
                f"{index.name} of the base model names {path.name}, which is not there; upload all files",
            )
    return shards

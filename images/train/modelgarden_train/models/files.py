"""The files of a base model: which ones are taken, and what they must be for a training that can be exported."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from modelgarden_pod.errors import UserError

CONFIGURATION = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")
WEIGHTS = ("*.safetensors",)
SAME_WEIGHTS_AGAIN = ("consolidated*",)
"""Beside the weights for Transformers, Mistral's repositories have them as its own software reads them."""
_WHOLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
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
    names = weight_names([path.name for path in folder.glob("*")], folder)
    for name in names:
        if not (folder / name).is_file():
            raise UserError(
                "ModelInvalid",
                f"{INDEX} of the base model names {name}, which is not there; upload all files",
            )
    return [folder / name for name in names]


def weight_names(names: Collection[str], folder: Path) -> list[str]:
    """Return which of a model's files Transformers loads weights from; in the folder are those that describe it.

    Raises:
        UserError: ModelInvalid, the index of the shards is damaged.
    """
    index = folder / INDEX
    if _WHOLE in names:
        return [_WHOLE]
    if not index.is_file():
        return sorted(name for name in names if _is_weights(name))
    try:
        return sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError("ModelInvalid", f"{INDEX} of the base model cannot be read: {error}") from error


def _is_weights(name: str) -> bool:
    return is_wanted(name, weights=True) and not is_wanted(name, weights=False)

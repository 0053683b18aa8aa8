"""Vision models of Qwen's kinds: which folders are one, how they count images, and what they are shown of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modelgarden_pod.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

KINDS: Final = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")
"""The `model_type` of models that stand one token for each piece of an image into the prompt, as many as its size tells."""
PREPROCESSOR: Final = "preprocessor_config.json"
PROCESSOR: Final = "processor_config.json"
_WITHIN_PROCESSOR: Final = "image_processor"
"""Where the second file has what the first one is."""
VISION_PARTS: Final = frozenset({"visual", "vision_tower", "vision_model"})
"""In the names of modules and tensors that see."""
_TEMPLATES: Final = ("chat_template.jinja", "chat_template.json")


def sees(name: str) -> bool:
    """Tell whether a module or tensor of this name is of the part that sees."""
    return not VISION_PARTS.isdisjoint(name.split("."))


def require_vision_model(folder: Path, *, source: str) -> None:
    """Refuse a folder that is no vision model whose images can be trained on, before a GPU is taken.

    Raises:
        UserError: ModelInvalid.
    """
    kind = json.loads((folder / "config.json").read_text()).get("model_type")
    if kind not in KINDS:
        raise UserError(
            "ModelInvalid",
            f"{source} is of the kind {kind}, and modality Vision trains those of the kinds {', '.join(KINDS)}; set "
            "model.source to one of these, such as hf://Qwen/Qwen2.5-VL-7B-Instruct, or modality to Text",
        )
    if not any((folder / name).is_file() for name in (PREPROCESSOR, PROCESSOR)):
        raise UserError(
            "ModelInvalid",
            f"{source} has neither {PREPROCESSOR} nor {PROCESSOR}, which say how its images are cut up; upload all files of "
            "the base model's repository",
        )


def with_image_template(tokenizer: Any, folder: Path, *, source: str) -> None:
    """Give a tokenizer the chat template that lies beside it where it has none itself.

    Raises:
        UserError: ModelInvalid, there is none: a plain one would show no images.
    """
    if tokenizer.chat_template:
        return
    plain, older = (folder / name for name in _TEMPLATES)
    if plain.is_file():
        tokenizer.chat_template = plain.read_text()
    elif older.is_file():
        tokenizer.chat_template = json.loads(older.read_text()).get("chat_template")
    if not tokenizer.chat_template:
        raise UserError(
            "ModelInvalid",
            f"{source} has no chat template, and none can be made up that shows images; give one in dataset.chatTemplate, "
            "or take the instruct version of the model",
        )


class VisionProcessor:
    """What makes tensors of images, as the model's own files and the job's limit on pixels say."""

    def __init__(self, folder: Path, *, max_pixels: int, only_counts: bool = False) -> None:
        """Load it; one that only counts needs no PyTorch.

        Raises:
            UserError: ModelInvalid, its files cannot be read.
        """
        from transformers import AutoConfig

        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            kind = _counting_kind() if only_counts else _kind()
            self._processor = kind.from_pretrained(folder, local_files_only=True)
            self.mark = int(config.image_token_id)
            size = limited(dict(self._processor.size), max_pixels=max_pixels)
            self._processor.size = type(self._processor.size)(**size)
            self.count(56, 56)
        except Exception as error:  # every library beneath raises its own
            raise UserError(
                "ModelInvalid", f"the base model's image processor cannot be loaded: {error}"
            ) from error

    mark: int
    """The token that stands for each piece of an image."""

    def count(self, height: int, width: int) -> int:
        """Return the tokens of an image of so many pixels."""
        patches = self._processor.get_number_of_image_patches(height, width)
        return int(patches // self._processor.merge_size**2)

    def tensors(self, images: Sequence[Image]) -> dict[str, Any]:
        """Return `pixel_values` of shape (patches, values of one) over all images, `image_grid_thw` of shape (images, 3)."""
        return dict(self._processor(images=list(images), return_tensors="pt"))


def _kind() -> Any:
    from transformers import AutoImageProcessor

    return AutoImageProcessor


def _counting_kind() -> Any:
    """Return the processor with Pillow, which all `KINDS` have; the automatic choice would import PyTorch."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil


@cache
def counting_processor(folder: Path, max_pixels: int) -> VisionProcessor:
    """Load, once in a process, what counts the tokens of images, without PyTorch.

    Raises:
        UserError: ModelInvalid, its files cannot be read.
    """
    from modelgarden_train.models.environment import go_offline, without_torch

    go_offline()
    with without_torch():
        return VisionProcessor(folder, max_pixels=max_pixels, only_counts=True)


def limited(size: dict[str, Any], *, max_pixels: int) -> dict[str, int]:
    """Return the limits of an image, which Transformers names after edges, with no more pixels than these."""
    most = min(max_pixels, int(size["longest_edge"]))
    return {"shortest_edge": min(int(size["shortest_edge"]), most), "longest_edge": most}


def processor_files(folder: Path, *, max_pixels: int) -> dict[str, dict[str, Any]]:
    """Return the files that say how a model's images are cut up, by name, with the job's limit on pixels in them."""
    found: dict[str, dict[str, Any]] = {}
    for name in (PREPROCESSOR, PROCESSOR):
        if not (folder / name).is_file():
            continue
        settings = json.loads((folder / name).read_text())
        if name == PREPROCESSOR:
            found[name] = _with_limit(settings, max_pixels)
        elif isinstance(settings.get(_WITHIN_PROCESSOR), dict):
            found[name] = settings | {_WITHIN_PROCESSOR: _with_limit(settings[_WITHIN_PROCESSOR], max_pixels)}
        else:
            found[name] = settings
    return found


def _with_limit(settings: dict[str, Any], max_pixels: int) -> dict[str, Any]:
    """Return an image processor's settings with a limit, under both of the names that readers know it by."""
    size = settings.get("size") or {}
    given = {
        "shortest_edge": settings.get("min_pixels") or size.get("shortest_edge") or _SMALLEST,
        "longest_edge": settings.get("max_pixels") or size.get("longest_edge") or max_pixels,
    }
    both = limited(given, max_pixels=max_pixels)
    return settings | {
        "size": both,
        "min_pixels": both["shortest_edge"],
        "max_pixels": both["longest_edge"],
    }


_SMALLEST: Final = 56 * 56
"""Fewest pixels of an image where a model's files do not say (Qwen2-VL's processor of Transformers)."""

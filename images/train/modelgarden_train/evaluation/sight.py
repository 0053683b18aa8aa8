"""What a model sees of rows with images: the tensors that go beside their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelgarden.api.pods import RunConfig
from modelgarden_train.data.images.archive import Archive
from modelgarden_train.data.images.pictures import picture_of
from modelgarden_train.models.vision import VisionProcessor


class Sight:
    """The images of a prepared dataset and the model's processor of them. Each image is opened when a pass shows it."""

    def __init__(self, archive: Path, model: Path, *, max_pixels: int) -> None:
        self._archive = Archive(archive)
        self._processor = VisionProcessor(model, max_pixels=max_pixels)

    def tensors(self, images: Sequence[Sequence[str]], ids: Any) -> dict[str, Any]:
        """Return what goes with token ids of shape (rows, tokens), given each row's images; nothing where no row has any.

        `mm_token_type_ids`, of the ids' shape, is 1 where a piece of an image stands, from which positions follow.
        """
        digests = [digest for row in images for digest in row]
        if not digests:
            return {}
        pictures = [picture_of(self._archive.read(digest)) for digest in digests]
        return {
            **self._processor.tensors(pictures),
            "mm_token_type_ids": (ids == self._processor.mark).long(),
        }


def sight_of(config: RunConfig, archive: Path | None, model: Path) -> Sight | None:
    """Return sight of the images in an archive, for the model in a folder; None where the rows have none.

    Raises:
        UserError: ModelInvalid, the model's image processor cannot be loaded.
    """
    if config.vision is None or archive is None:
        return None
    return Sight(archive, model, max_pixels=config.vision.max_pixels)

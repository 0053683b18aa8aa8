"""Rows of an image, a text that asks about it, and the response. Pure."""

from __future__ import annotations

from typing import Any

from modelgarden_train.data.formats.fields import answer_of, list_of, text_of
from modelgarden_train.data.formats.images import image_path
from modelgarden_train.data.rows import Row, RowError


def vision_row(value: dict[str, Any]) -> Row:
    """Return a row of the format Vision: `image` is a path, or `images` a list of them, before the text.

    Raises:
        RowError: it is none.
    """
    if "images" in value:
        images = tuple(
            image_path(path, f"images[{index}]") for index, path in enumerate(list_of(value, "images"))
        )
        if not images:
            raise RowError('field "images" is empty')
    elif "image" in value:
        images = (image_path(value["image"], "image"),)
    else:
        raise RowError('field "image" is missing')
    parts = [*({"type": "image"} for _ in images), {"type": "text", "text": text_of(value, "text")}]
    messages = (
        {"role": "user", "content": parts},
        {"role": "assistant", "content": answer_of(value, "response")},
    )
    return Row(messages, kind="Vision", images=images)

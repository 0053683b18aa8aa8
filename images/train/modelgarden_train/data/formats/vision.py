"""Rows of an image, a text that asks about it, and the response. Pure."""

from __future__ import annotations

from typing import Any

from modelgarden_train.data.formats.fields import answer_of, text_of
from modelgarden_train.data.formats.images import image_at, images_beside
from modelgarden_train.data.rows import Row, RowError


def vision_row(value: dict[str, Any]) -> Row:
    """Return a row of the format Vision: `image` is one, or `images` a list of them, before the text.

    Raises:
        RowError: it is none.
    """
    if not {"image", "images"} & value.keys():
        raise RowError('field "image" is missing')
    if value.get("images") == []:
        raise RowError('field "images" is empty')
    images = images_beside(value) or (image_at(value.get("image"), "image"),)
    parts = [*({"type": "image"} for _ in images), {"type": "text", "text": text_of(value, "text")}]
    messages = (
        {"role": "user", "content": parts},
        {"role": "assistant", "content": answer_of(value, "response")},
    )
    return Row(messages, kind="Vision", images=images)

"""Images of a row: where they lie, and where in a conversation they stand. Pure; none is opened here.

An image is told of by its path below the folder of the row's file, or is there itself as a data: URL.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any, Final

from modelgarden_train.data.formats.fields import check_text, list_of, object_at, shown
from modelgarden_train.data.rows import Message, RowError
from modelgarden_train.data.values import type_name

INLINE: Final = "data:"
"""What the text of an image begins with that is there itself."""
MARK: Final = "<image>"
"""What stands for an image in a text, as LLaVA has it."""
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_INLINE_BASE64: Final = re.compile(r"data:[a-zA-Z0-9.+/-]*;base64,")
_LONGEST_PATH: Final = 1024


def image_at(value: Any, at: str) -> str:
    """Return an image: a path below the folder of the row's file, or a data: URL.

    Tables of the hub hold an image as its bytes, or as {"bytes": ..., "path": ...}.

    Raises:
        RowError: it is neither, or leads out of the folder.
    """
    name = f'field "{at}"'
    value = _of_a_table(value)
    if isinstance(value, bytes):
        return f"{INLINE};base64,{base64.b64encode(value).decode()}"
    if not isinstance(value, str):
        raise RowError(f"{name} must be the path of an image, found {type_name(value)}")
    if value.startswith(INLINE):
        if _INLINE_BASE64.match(value) is None:
            raise RowError(f"{name} is a data: URL without base64; write data:image/png;base64,...")
        return value
    _check_path(value, name)
    return value


def _of_a_table(value: Any) -> Any:
    """Return the bytes or the path of an image that is an object of both."""
    if isinstance(value, dict) and isinstance(value.get("bytes"), bytes):
        return value["bytes"]
    if isinstance(value, dict) and value.get("bytes") is None and isinstance(value.get("path"), str):
        return value["path"]
    return value


def _check_path(value: str, name: str) -> None:
    check_text(value, name)
    wanted = "name a file below the folder that the row's file lies in, such as images/1.png"
    if not value.strip() or len(value) > _LONGEST_PATH:
        raise RowError(f"{name} has {len(value)} characters; {wanted}")
    if _SCHEME.match(value):
        raise RowError(f"{name} is the URL {shown(value)}; {wanted}")
    if value.startswith("/") or "\\" in value:
        raise RowError(f"{name} is {shown(value)}, no relative path; {wanted}")
    if any(part in ("", ".", "..") for part in value.split("/")):
        raise RowError(f"{name} is {shown(value)}, which is no plain path; {wanted}")


def images_beside(value: dict[str, Any]) -> tuple[str, ...]:
    """Return the images in the fields `images`, a list, or `image` of a row; none where neither is there.

    Raises:
        RowError: one is no image.
    """
    if value.get("images") is not None:
        found = list_of(value, "images")
        return tuple(image_at(one, f"images[{index}]") for index, one in enumerate(found))
    if value.get("image") is not None:
        return (image_at(value["image"], "image"),)
    return ()


def content_parts(value: list[Any], at: str) -> tuple[list[dict[str, str]], list[str | None]]:
    """Return the parts of a message as templates take them, and its images, None for one that stands beside the messages.

    An image part is {"type": "image", "image": PATH}, {"type": "image_url", "image_url": {"url": PATH}}, or {"type":
    "image"} alone.

    Raises:
        RowError: a part is of another type or form.
    """
    parts: list[dict[str, str]] = []
    images: list[str | None] = []
    for index, item in enumerate(value):
        place = f"{at}[{index}]"
        part = object_at(item, place)
        kind = part.get("type")
        if kind == "text":
            text = part.get("text")
            if not isinstance(text, str):
                raise RowError(f'field "{place}.text" must be a string, found {type_name(text)}')
            check_text(text, f'field "{place}.text"')
            parts.append({"type": "text", "text": text})
        elif kind in ("image", "image_url"):
            parts.append({"type": "image"})
            images.append(_image_of(part, kind, place))
        else:
            found = shown(kind) if isinstance(kind, str) else type_name(kind)
            raise RowError(f'field "{place}.type" is {found}; use text or image')
    return parts, images


def placed(
    messages: Sequence[Message], within: Sequence[str | None], beside: Sequence[str], at: str
) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """Return messages and all their images, in the order of the parts that stand for them.

    `within` are those of the parts, None for one that is the next of those `beside` the messages. Where no part stands for
    any, those beside are shown before the text of the first message of the user, as TRL has it.

    Raises:
        RowError: there are more parts than images, or more images than parts.
    """
    if not within and beside:
        first = next(place for place, message in enumerate(messages) if message["role"] == "user")
        shown_first = dict(messages[first])
        text = {"type": "text", "text": shown_first["content"]}
        shown_first["content"] = [*({"type": "image"} for _ in beside), text]
        return (*messages[:first], shown_first, *messages[first + 1 :]), tuple(beside)
    waiting = sum(image is None for image in within)
    if waiting != len(beside):
        raise RowError(
            f'field "{at}" has {waiting} parts for images, and beside it are {len(beside)}; name one for each'
        )
    left = iter(beside)
    return tuple(messages), tuple(next(left) if image is None else image for image in within)


def marked_parts(text: str) -> list[dict[str, str]]:
    """Return a text as parts, each mark of an image one of its own; line breaks around a mark are none of the text."""
    parts: list[dict[str, str]] = []
    for index, piece in enumerate(text.split(MARK)):
        if index:
            parts.append({"type": "image"})
        plain = piece.strip("\n")
        if plain:
            parts.append({"type": "text", "text": plain})
    return parts


def _image_of(part: dict[str, Any], kind: str, at: str) -> str | None:
    image, place = part.get(kind), f"{at}.{kind}"
    if image is None and kind == "image":
        return None
    if kind not in part:
        raise RowError(f'field "{place}" is missing')
    if kind == "image_url" and isinstance(image, dict):
        image, place = image.get("url"), f"{place}.url"
    return image_at(image, place)

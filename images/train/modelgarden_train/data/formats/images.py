"""Images of a row: where they lie, and where in a message they stand. Pure; none is opened here."""

from __future__ import annotations

import re
from typing import Any, Final

from modelgarden_train.data.formats.fields import check_text, object_at, shown
from modelgarden_train.data.rows import RowError
from modelgarden_train.data.values import type_name

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_LONGEST_PATH: Final = 1024


def image_path(value: Any, at: str) -> str:
    """Return the path of an image below the dataset's source.

    Raises:
        RowError: it is no path, or leads out of the source.
    """
    name = f'field "{at}"'
    if not isinstance(value, str):
        raise RowError(f"{name} must be the path of an image, found {type_name(value)}")
    check_text(value, name)
    wanted = "name a file below the dataset's source, such as images/1.png"
    if not value.strip() or len(value) > _LONGEST_PATH:
        raise RowError(f"{name} has {len(value)} characters; {wanted}")
    if _SCHEME.match(value):
        raise RowError(f"{name} is the URL {shown(value)}; {wanted}")
    if value.startswith("/") or "\\" in value:
        raise RowError(f"{name} is {shown(value)}, no relative path; {wanted}")
    if any(part in ("", ".", "..") for part in value.split("/")):
        raise RowError(f"{name} is {shown(value)}, which is no plain path; {wanted}")
    return value


def content_parts(value: list[Any], at: str) -> tuple[list[dict[str, str]], list[str]]:
    """Return the parts of a message as templates take them, and the paths of its images.

    An image part is {"type": "image", "image": PATH} or {"type": "image_url", "image_url": {"url": PATH}}.

    Raises:
        RowError: a part is of another type or form.
    """
    parts: list[dict[str, str]] = []
    paths: list[str] = []
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
            paths.append(_path_of(part, kind, place))
        else:
            found = shown(kind) if isinstance(kind, str) else type_name(kind)
            raise RowError(f'field "{place}.type" is {found}; use text or image')
    return parts, paths


def _path_of(part: dict[str, Any], kind: str, at: str) -> str:
    if kind not in part:
        raise RowError(f'field "{at}.{kind}" is missing')
    path, place = part[kind], f"{at}.{kind}"
    if kind == "image_url" and isinstance(path, dict):
        path, place = path.get("url"), f"{place}.url"
    return image_path(path, place)

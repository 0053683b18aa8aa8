"""The files that the URI of a dataset's source names: one, all below a folder, or those that fit a pattern. Pure.

`s3://bucket/rows.jsonl` is one file, `s3://bucket/folder/` all below it, `s3://bucket/2026-*/**/*.jsonl` those that fit:
`*` and `?` stand for characters of one part of a path, a part `**` for any number of parts. Names that begin with `.`
or `_` are left out, as programs keep their own notes under them. What a source names that ends with `.dvc`, in S3 or a
volume, are not files with rows but pointers to them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

MOST_FILES: Final = 10_000
"""That one source may have, and that may lie where they are looked for."""

_POINTER: Final = ".dvc"
_WITHOUT_POINTERS: Final = ("hf://", "https://", "configmap://")
_ANY_FOLDERS: Final = "**"
_ALL_BELOW: Final = "**/*"
_WILDCARD: Final = re.compile(r"[*?]")


@dataclass(frozen=True)
class Selection:
    """Files below a folder."""

    folder: str
    """URI of the folder, without a slash at its end."""
    pattern: str | None
    """That their names below the folder fit; None for all."""

    @property
    def start(self) -> str:
        """What the names of all of them begin with."""
        return _WILDCARD.split(self.pattern or "", maxsplit=1)[0]

    def takes(self, name: str) -> bool:
        """Tell whether a file of the folder is one of them, by its name below the folder."""
        parts = name.split("/")
        if any(part.startswith((".", "_")) or not part for part in parts):
            return False
        return self.pattern is None or _fits(parts, self.pattern.split("/"))


def selection_of(uri: str) -> Selection | None:
    """Return what a URI selects, None where it names one file."""
    if uri.endswith("/"):
        uri += _ALL_BELOW
    parts = uri.split("/")
    first = next((place for place, part in enumerate(parts) if _WILDCARD.search(part)), None)
    if first is None:
        return None
    pattern = "/".join(parts[first:])
    return Selection("/".join(parts[:first]), None if pattern == _ALL_BELOW else pattern)


def names_pointers(uri: str) -> bool:
    """Tell whether the files that a URI names are pointers of DVC, which lead to the files with the rows."""
    return uri.endswith(_POINTER) and not uri.startswith(_WITHOUT_POINTERS)


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Match part by part; of several ** only the last need ever be tried anew, as each takes as few parts as it can."""
    part = wanted = tried = 0
    again: int | None = None
    while part < len(parts):
        if wanted < len(pattern) and pattern[wanted] == _ANY_FOLDERS:
            again, tried = wanted + 1, part
            wanted += 1
        elif wanted < len(pattern) and fnmatchcase(parts[part], pattern[wanted]):
            part, wanted = part + 1, wanted + 1
        elif again is not None:
            tried += 1
            part, wanted = tried, again
        else:
            return False
    return all(one == _ANY_FOLDERS for one in pattern[wanted:])

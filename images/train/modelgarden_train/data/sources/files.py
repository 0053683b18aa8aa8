"""The files of a dataset on this machine, and what is recorded of where they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelgarden.api.artifact import SourceRecord
from modelgarden.api.selection import selection_of
from modelgarden_pod.errors import UserError

_LONGEST_NAME: Final = 100
"""Of a file on this machine, whose system takes 255 bytes; what the name ends with tells how it is read."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a source."""

    source: int
    """Which of the dataset's sources it is of."""
    name: str
    """As users know it: s3://bucket/key and the like."""
    path: Path


@dataclass(frozen=True)
class Fetched:
    """A source on this machine."""

    files: tuple[SourceFile, ...]
    record: SourceRecord
    pin: str | None = None
    """That of the listing, where it held while the files were read."""


@dataclass(frozen=True)
class Listing:
    """A source whose files are known, as far as its place tells them before they are fetched."""

    fetch: Callable[[Path], Fetched]
    """Brings them into a folder of this machine."""
    pin: str | None = None
    """Changes with the files' names and bytes; None where these must be read to know."""


def local_path_of(folder: Path, number: int, name: str) -> Path:
    """Return where a source's file of this number goes: its name's end is kept, whatever else is in the name."""
    return folder / f"{number:05}-{name.rpartition('/')[2][-_LONGEST_NAME:]}"


def pin_of(uri: str, *told: str) -> str:
    """Return a SHA-256 over a source's URI and what its place tells of the files."""
    return hashlib.sha256("\0".join((uri, *told)).encode()).hexdigest()


def nothing_found(uri: str, *, remedy: str) -> UserError:
    """Return the failure of a source that names no file."""
    what = "no file fits" if selection_of(uri) else "there is no file"
    return UserError("DatasetNotFound", f"{what} {uri}; {remedy} or correct the source")


def recorded(uri: str, files: Iterable[tuple[str, str]], *, revision: str | None = None) -> SourceRecord:
    """Return what is recorded of a source that has files of these names and SHA-256."""
    lines = [f"{name}\0{sha256}\n" for name, sha256 in files]
    digest = hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
    return SourceRecord(uri=uri, revision=revision, files=len(lines), digest=digest)

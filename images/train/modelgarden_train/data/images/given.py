"""The images that rows name by a path, brought from beside the rows' files to this machine's disk before the rows are made.

What keeps one from being brought is left in its place, so that its row is told of with its line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from modelgarden.api.artifact import SourceRecord
from modelgarden.api.names import MOUNTED_SCHEMES, MOUNTED_SOURCES
from modelgarden.api.pods import PodSource, RunConfig
from modelgarden.api.selection import names_pointers
from modelgarden_pod.errors import ObjectNotFound, UserError
from modelgarden_pod.folder import Folder
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage import in_parallel, open_folder
from modelgarden_train.data.formats import parse_row
from modelgarden_train.data.formats.images import INLINE
from modelgarden_train.data.images.pictures import LARGEST_FILE_BYTES
from modelgarden_train.data.pipeline.chunks import Chunk, Chunks
from modelgarden_train.data.readers import open_file
from modelgarden_train.data.rows import RowError
from modelgarden_train.data.sources.files import Fetched
from modelgarden_train.data.sources.mounted import open_inside

Opener = Callable[[str], Folder]
"""Opens a folder of storage by its URI."""

_AT_A_TIME: Final = 256
_OPEN_FOLDERS: Final = 64
_INSTEAD: Final = ".instead"
"""Suffix of the file that says why an image is not there."""
_ELSEWHERE: Final = (
    "has a path, and images that rows name by path are read beside rows in S3, in GCS or in a volume; upload rows and "
    "images there, or put the images into the rows"
)
_ABSENT: Final = "is not there; upload it, or correct its path, which begins at the folder of the row's file"
_LARGE: Final = f"is larger than {LARGEST_FILE_BYTES // 1024**2} MiB; make it smaller"


def image_file(folder: Path, beside: str, path: str) -> Path:
    """Return where the image of a path is on this machine, that lies beside the rows in the folder of a URI."""
    return folder / hashlib.sha256(f"{beside}/{path}".encode()).hexdigest()


def content_at(file: Path) -> bytes:
    """Return an image that was brought here.

    Raises:
        RowError: it was not.
    """
    if not file.exists():
        why = file.with_suffix(_INSTEAD)
        raise RowError(why.read_text() if why.exists() else _ABSENT)
    return file.read_bytes()


def fetch_images(
    config: RunConfig, fetched: Sequence[Fetched], folder: Path, *, patience: Patience
) -> tuple[Fetched, ...]:
    """Bring the images that rows name to a folder; return the sources with digests over their images too.

    Raises:
        UserError: DatasetInvalid, a file of rows cannot be read; AccessDenied or BucketNotFound.
        TemporaryError: a place does not answer.
    """
    folder.mkdir(parents=True, exist_ok=True)

    @lru_cache(maxsize=_OPEN_FOLDERS)  # to open one takes longer than to read an image from it
    def opened(uri: str) -> Folder:
        return open_folder(uri, config.storage, patience=patience)

    return tuple(_with_images(config, source, folder, opened) for source in fetched)


def _with_images(config: RunConfig, fetched: Fetched, folder: Path, opened: Opener) -> Fetched:
    files = [open_file(file) for file in fetched.files]
    digests: dict[str, str] = {}
    for chunk in Chunks(files, config.dataset.all_sources):
        wanted = [name for name in _named(chunk) if f"{chunk.beside}/{name}" not in digests]
        for start in range(0, len(wanted), _AT_A_TIME):
            part = wanted[start : start + _AT_A_TIME]
            bring = partial(_brought, chunk, folder, opened)
            found = in_parallel(partial(bring, name) for name in part)
            digests |= {f"{chunk.beside}/{name}": one for name, one in zip(part, found, strict=True)}
    return replace(fetched, record=_recorded(fetched.record, digests)) if digests else fetched


def _recorded(record: SourceRecord, digests: dict[str, str]) -> SourceRecord:
    lines = "".join(sorted(f"{name}\0{digest}\n" for name, digest in digests.items()))
    both = hashlib.sha256(f"{record.digest}\n{lines}".encode()).hexdigest()
    return record.model_copy(update={"digest": both})


def _named(chunk: Chunk) -> Iterator[str]:
    """Yield the paths that a chunk's rows name, each once; what is wrong with a row is told where it is made."""
    seen: set[str] = set()
    for record in chunk.records:
        try:
            row = parse_row(record.fields(), chunk.source.format, chunk.source.columns)
        except RowError:
            continue
        for image in row.images:
            if not image.startswith(INLINE) and image not in seen:
                seen.add(image)
                yield image


def _brought(chunk: Chunk, folder: Path, opened: Opener, name: str) -> str:
    """Bring one image; return its SHA-256, or what is told in its place."""
    target = image_file(folder, chunk.beside, name)
    try:
        return _fetched(chunk.source, chunk.beside, name, target, opened)
    except RowError as error:
        target.with_suffix(_INSTEAD).write_text(str(error))
        return str(error)


def _fetched(source: PodSource, beside: str, name: str, target: Path, opened: Opener) -> str:
    scheme = beside.partition("://")[0]
    if names_pointers(source.uri) or scheme in ("hf", "https"):
        raise RowError(_ELSEWHERE)
    if scheme in MOUNTED_SCHEMES:
        return _copied(beside, name, target)
    place = opened(beside)
    try:
        found = place.stat(name)
        if found is None:
            raise RowError(_ABSENT)
        if found.bytes > LARGEST_FILE_BYTES:
            raise RowError(_LARGE)
        return place.download(name, target)
    except ObjectNotFound as error:
        raise RowError(_ABSENT) from error


def _copied(beside: str, name: str, target: Path) -> str:
    """Copy an image out of a volume, which it must lie in."""
    scheme, _, rest = beside.partition("://")
    volume, _, below = rest.partition("/")
    root = Path(MOUNTED_SOURCES) / scheme / volume
    path = root / below / name
    if not path.exists():
        raise RowError(_ABSENT)
    try:
        with open_inside(root, path, f"{beside}/{name}") as found:
            content = found.read(LARGEST_FILE_BYTES + 1)
    except UserError as error:
        raise RowError(f"cannot be read: {error.message}") from error
    if len(content) > LARGEST_FILE_BYTES:
        raise RowError(_LARGE)
    target.write_bytes(content)
    return hashlib.sha256(content).hexdigest()

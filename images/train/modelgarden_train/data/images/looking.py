"""Looks at the images of rows in whatever process makes the rows: each is decoded, kept by its SHA-256, and measured."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from modelgarden_train.data.chat import Encoded
from modelgarden_train.data.formats.fields import shown
from modelgarden_train.data.formats.images import INLINE
from modelgarden_train.data.images.given import content_at, image_file
from modelgarden_train.data.images.pictures import LARGEST_FILE_BYTES, size_of
from modelgarden_train.data.rows import Row, RowError

_KEPT_SIZES: Final = 65_536
"""Images whose sizes a process remembers, so that one that many rows name is decoded once."""


class ImageTokens(Protocol):
    """How a model counts an image."""

    @property
    def mark(self) -> int:
        """The token that stands for an image in a rendered prompt, and for each piece of it in what the model reads."""
        ...

    def count(self, height: int, width: int) -> int:
        """Return the tokens of an image of so many pixels."""
        ...


@dataclass
class Looking:
    """Where images are and how they are counted; can be sent to another process."""

    given: Path
    """Folder of the images that rows name by a path, by `image_file`."""
    kept: Path
    """Folder that the images of rows are kept in, by their SHA-256."""
    load_tokens: Callable[[], ImageTokens]
    """Called once in each process."""
    _tokens: ImageTokens | None = field(default=None, repr=False)
    _sizes: dict[str, tuple[int, int]] = field(default_factory=dict, repr=False)
    """Height and width of images that were looked at, by SHA-256."""

    def looked_at(self, row: Row, beside: str) -> Row:
        """Return a row with the SHA-256 of its images, which are kept; `beside` is the URI of the folder of its file.

        Raises:
            RowError: an image is not there, or none.
        """
        images = tuple(
            self._digest_of(image, beside, number) for number, image in enumerate(row.images, start=1)
        )
        return replace(row, images=images)

    def expanded(self, row: Row, encoded: Encoded | RowError) -> Encoded | RowError:
        """Return a row with as many tokens for each image as the model gives it, or what is wrong with it."""
        if isinstance(encoded, RowError):
            return encoded
        tokens = self._counter()
        marks = [place for place, token in enumerate(encoded.ids) if token == tokens.mark]
        if len(marks) != len(row.images):
            return RowError(
                f"its text as the model sees it has {len(marks)} marks of images and the row has {len(row.images)} images; "
                "leave the model's own mark out of texts, or give a template that shows images in dataset.chatTemplate"
            )
        counts = [tokens.count(*self._size_of(image)) for image in row.images]
        return with_counts(encoded, dict(zip(marks, counts, strict=True)))

    def _counter(self) -> ImageTokens:
        if self._tokens is None:
            self._tokens = self.load_tokens()
        return self._tokens

    def _digest_of(self, image: str, beside: str, number: int) -> str:
        inline = image.startswith(INLINE)
        name = f"image {number}" if inline else f"the image {shown(image)}"
        try:
            content = _inline(image) if inline else content_at(image_file(self.given, beside, image))
            digest = hashlib.sha256(content).hexdigest()
            if digest not in self._sizes:
                size = size_of(content)
                _keep(content, self.kept / digest)
                self._note(digest, size)
        except RowError as error:
            raise RowError(f"{name} {error}") from error
        return digest

    def _size_of(self, digest: str) -> tuple[int, int]:
        """Return height and width of an image that is kept."""
        if digest not in self._sizes:  # forgotten for others since
            self._note(digest, size_of((self.kept / digest).read_bytes()))
        return self._sizes[digest]

    def _note(self, digest: str, size: tuple[int, int]) -> None:
        if len(self._sizes) >= _KEPT_SIZES:
            self._sizes.clear()
        self._sizes[digest] = size


def with_counts(encoded: Encoded, counts: dict[int, int]) -> Encoded:
    """Return a row in which the token at each place stands so many times; `counts` are in the order of the places."""
    ids: list[int] = []
    moved = [0] * (len(encoded.ids) + 1)
    for place, token in enumerate(encoded.ids):
        moved[place] = len(ids)
        ids.extend([token] * counts.get(place, 1))
    moved[-1] = len(ids)
    return Encoded(ids, tuple((moved[start], moved[end]) for start, end in encoded.spans))


def _inline(image: str) -> bytes:
    """Return the bytes of a data: URL."""
    try:
        content = base64.b64decode(image.partition(",")[2], validate=True)
    except binascii.Error as error:
        raise RowError("is no base64; encode its bytes anew") from error
    if len(content) > LARGEST_FILE_BYTES:
        raise RowError(f"is larger than {LARGEST_FILE_BYTES // 1024**2} MiB; make it smaller")
    return content


def _keep(content: bytes, target: Path) -> None:
    """Keep an image; other processes may keep the same at the same time."""
    if target.exists():
        return
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(target)

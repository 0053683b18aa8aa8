"""A prepared row as bytes, between the process that makes it, the spool and the files."""

from __future__ import annotations

import struct
from array import array
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

from modelgarden_train.data.prepared import PreparedRow

_HEAD: Final = struct.Struct("<III")
_MORE: Final = struct.Struct("<I")
_PAIR: Final = 1 << 31
_LABELS: Final[dict[bool | None, int]] = {None: 0, False: 1 << 29, True: 1 << 30}
_LABEL_OF: Final = {mark: label for label, mark in _LABELS.items()}
_IMAGES: Final = 1 << 28
_COUNT: Final = (1 << 28) - 1
"""Marks in the number of bounds: a worse answer's length follows the head; the row's label; the number of images follows.
Rows without any of them have the bytes, and so the digest, of before there were any."""
NUMBER_BYTES: Final = 4
IMAGE_BYTES: Final = 32
"""Of an image's SHA-256."""


def packed(row: PreparedRow) -> bytes:
    """Return a row as bytes: lengths, then tokens, bounds of spans, the worse answer's tokens, images, question, answer."""
    bounds = [bound for span in row.spans for bound in span]
    question = row.question.encode()
    worse = len(row.rejected_ids)
    marks = _LABELS[row.label] | (_PAIR if worse else 0) | (_IMAGES if row.images else 0)
    head = _HEAD.pack(len(row.input_ids), len(bounds) | marks, len(question))
    more = _MORE.pack(worse) if worse else b""
    more += _MORE.pack(len(row.images)) if row.images else b""
    images = bytes.fromhex("".join(row.images))
    numbers = array("i", row.input_ids)
    numbers.extend(bounds)
    numbers.extend(row.rejected_ids)
    return b"".join((head, more, numbers.tobytes(), images, question, row.answer.encode()))


class Parts(NamedTuple):
    """A packed row's parts."""

    input_ids: bytes
    """Numbers of 32 bits, as the spans' bounds."""
    bounds: bytes
    rejected_ids: bytes
    images: bytes
    """SHA-256 of each, one after the other."""
    question: bytes
    """UTF-8, as the answer."""
    answer: bytes
    label: bool | None


def parts_of(content: bytes) -> Parts:
    """Return the parts of a packed row."""
    tokens, marked, question = _HEAD.unpack_from(content)
    start, worse, images, bounds = _HEAD.size, 0, 0, marked & _COUNT
    if marked & _PAIR:
        (worse,) = _MORE.unpack_from(content, start)
        start += _MORE.size
    if marked & _IMAGES:
        (images,) = _MORE.unpack_from(content, start)
        start += _MORE.size
    lengths = (*(count * NUMBER_BYTES for count in (tokens, bounds, worse)), images * IMAGE_BYTES, question)
    ends = (*accumulate(lengths, initial=start), len(content))
    ids, spans, rejected, shown, asked, answer = (content[begin:end] for begin, end in pairwise(ends))
    label = _LABEL_OF[marked & ~_COUNT & ~_PAIR & ~_IMAGES]
    return Parts(ids, spans, rejected, shown, asked, answer, label=label)


def images_of(content: bytes) -> tuple[str, ...]:
    """Return the SHA-256 of each image, one after the other as in `Parts`."""
    return tuple(content[start : start + IMAGE_BYTES].hex() for start in range(0, len(content), IMAGE_BYTES))


def unpacked(content: bytes) -> PreparedRow:
    """Return the row of these bytes."""
    parts = parts_of(content)
    spans = _numbers(parts.bounds)
    return PreparedRow(
        input_ids=_numbers(parts.input_ids),
        spans=tuple(zip(spans[::2], spans[1::2], strict=True)),
        question=parts.question.decode(),
        answer=parts.answer.decode(),
        rejected_ids=_numbers(parts.rejected_ids),
        label=parts.label,
        images=images_of(parts.images),
    )


def _numbers(part: bytes) -> list[int]:
    numbers = array("i")
    numbers.frombytes(part)
    return numbers.tolist()

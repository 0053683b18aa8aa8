"""A prepared row as bytes, between the process that makes it, the spool and the files."""

from __future__ import annotations

import struct
from array import array
from typing import Final, NamedTuple

from modelgarden_train.data.prepared import PreparedRow

_HEAD: Final = struct.Struct("<III")
NUMBER_BYTES: Final = 4


def packed(row: PreparedRow) -> bytes:
    """Return a row as bytes: three lengths, then tokens, bounds of spans, question and answer."""
    bounds = [bound for span in row.spans for bound in span]
    question = row.question.encode()
    head = _HEAD.pack(len(row.input_ids), len(bounds), len(question))
    numbers = array("i", row.input_ids)
    numbers.extend(bounds)
    return b"".join((head, numbers.tobytes(), question, row.answer.encode()))


class Parts(NamedTuple):
    """A packed row's parts."""

    input_ids: bytes
    """Numbers of 32 bits, as the spans' bounds."""
    bounds: bytes
    question: bytes
    """UTF-8, as the answer."""
    answer: bytes


def parts_of(content: bytes) -> Parts:
    """Return the parts of a packed row."""
    tokens, bounds, question = _HEAD.unpack_from(content)
    spans = _HEAD.size + tokens * NUMBER_BYTES
    texts = spans + bounds * NUMBER_BYTES
    answer = texts + question
    return Parts(content[_HEAD.size : spans], content[spans:texts], content[texts:answer], content[answer:])


def unpacked(content: bytes) -> PreparedRow:
    """Return the row of these bytes."""
    parts = parts_of(content)
    spans = _numbers(parts.bounds)
    return PreparedRow(
        input_ids=_numbers(parts.input_ids),
        spans=tuple(zip(spans[::2], spans[1::2], strict=True)),
        question=parts.question.decode(),
        answer=parts.answer.decode(),
    )


def _numbers(part: bytes) -> list[int]:
    numbers = array("i")
    numbers.frombytes(part)
    return numbers.tolist()

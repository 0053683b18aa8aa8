"""A prepared row as bytes, between the process that makes it, the spool and the files."""

from __future__ import annotations

import struct
from array import array
from typing import Final, NamedTuple

from modelgarden_train.data.prepared import PreparedRow

_HEAD: Final = struct.Struct("<III")
_NUMBER_BYTES: Final = 4


def packed(row: PreparedRow) -> bytes:
    """Return a row as bytes: three lengths, then tokens, bounds of spans, question and answer."""
    bounds = [bound for span in row.spans for bound in span]
    question = row.question.encode()
    head = _HEAD.pack(len(row.input_ids), len(bounds), len(question))
    numbers = array("i", row.input_ids)
    numbers.extend(bounds)
    return b"".join((head, numbers.tobytes(), question, row.answer.encode()))


class Parts(NamedTuple):
    """A packed row's parts, as they lie in its bytes."""

    input_ids: memoryview
    """Numbers of 32 bits, as the spans' bounds."""
    bounds: memoryview
    question: memoryview
    """UTF-8, as the answer."""
    answer: memoryview


def parts_of(content: bytes) -> Parts:
    """Return the parts of a packed row, without copying them."""
    tokens, bounds, question = _HEAD.unpack_from(content)
    whole = memoryview(content)
    spans = _HEAD.size + tokens * _NUMBER_BYTES
    texts = spans + bounds * _NUMBER_BYTES
    answer = texts + question
    return Parts(whole[_HEAD.size : spans], whole[spans:texts], whole[texts:answer], whole[answer:])


def unpacked(content: bytes) -> PreparedRow:
    """Return the row of these bytes."""
    parts = parts_of(content)
    spans = _numbers(parts.bounds)
    return PreparedRow(
        input_ids=_numbers(parts.input_ids),
        spans=tuple(zip(spans[::2], spans[1::2], strict=True)),
        question=str(parts.question, "utf-8"),
        answer=str(parts.answer, "utf-8"),
    )


def _numbers(part: memoryview) -> list[int]:
    numbers = array("i")
    numbers.frombytes(part)
    return numbers.tolist()

"""A prepared row as bytes, between the process that makes it, the spool and the files."""

from __future__ import annotations

import struct
from array import array
from typing import Final

from modelgarden_train.data.prepared import PreparedRow

_HEAD: Final = struct.Struct("<III")


def packed(row: PreparedRow) -> bytes:
    """Return a row as bytes: three lengths, then tokens, bounds of spans, question and answer."""
    bounds = [bound for span in row.spans for bound in span]
    question = row.question.encode()
    head = _HEAD.pack(len(row.input_ids), len(bounds), len(question))
    numbers = array("i", row.input_ids)
    numbers.extend(bounds)
    return b"".join((head, numbers.tobytes(), question, row.answer.encode()))


def unpacked(content: bytes) -> PreparedRow:
    """Return the row of these bytes."""
    tokens, bounds, question = _HEAD.unpack_from(content)
    numbers = array("i")
    texts = _HEAD.size + (tokens + bounds) * numbers.itemsize
    numbers.frombytes(content[_HEAD.size : texts])
    spans = numbers[tokens:]
    return PreparedRow(
        input_ids=numbers[:tokens].tolist(),
        spans=tuple(zip(spans[::2], spans[1::2], strict=True)),
        question=content[texts : texts + question].decode(),
        answer=content[texts + question :].decode(),
    )

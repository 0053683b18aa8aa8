"""Rows as tokens, those with a worse answer with both: each after the same prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from modelgarden_train.data.chat import Encoded, encode
from modelgarden_train.data.rows import Row, RowError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode_rows(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]) -> list[Encoded | RowError]:
    """Return rows as the tokens that are trained on, or what the template has against one.

    Raises:
        UserError: ModelInvalid, the template refuses any conversation.
    """
    encoded = encode(tokenizer, rows)
    with_worse = [
        replace(row, messages=(*row.messages[:-1], row.rejected), rejected=None)
        for row in rows
        if row.rejected
    ]
    worse = iter(encode(tokenizer, with_worse))
    return [_pair(one, next(worse)) if row.rejected else one for row, one in zip(rows, encoded, strict=True)]


def _pair(better: Encoded | RowError, worse: Encoded | RowError) -> Encoded | RowError:
    if isinstance(better, RowError):
        return better
    if isinstance(worse, RowError):
        return RowError(f"of the rejected answer: {worse}")
    start, _ = better.spans[-1]
    if better.ids[:start] != worse.ids[: worse.spans[-1][0]]:
        return RowError(
            "the chat template renders the prompt differently for the two answers; give another template in "
            "dataset.chatTemplate"
        )
    if better.ids == worse.ids:
        return RowError("the chat template renders both answers alike, so there is nothing to prefer")
    return Encoded(better.ids, better.spans[-1:], rejected_ids=worse.ids[start:])

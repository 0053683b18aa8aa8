"""Looks for what a dataset's quality asks for in single rows: runs in whatever process the rows are rendered in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from modelgarden.api.finetunejob import Quality
from modelgarden_train.data.quality.answers import is_cut_off
from modelgarden_train.data.quality.findings import Finding
from modelgarden_train.data.quality.leaks import has_email, secret_kinds
from modelgarden_train.data.quality.near_duplicates import sketches
from modelgarden_train.data.quality.profanity import offensive
from modelgarden_train.data.rows import Row, message_text


@dataclass(frozen=True)
class RowChecks:
    """What is looked for; it can be sent to another process."""

    quality: Quality
    longest: int
    """In tokens."""

    def findings(self, rows: Sequence[Row], tokens: Sequence[int]) -> list[tuple[Finding, ...]]:
        """Return what is found in each of some rows, whose lengths in tokens are given. What is kept is not looked for."""
        texts = [text_of(row) for row in rows]
        swearing = offensive(texts) if self.quality.profanity != "Keep" else [False] * len(rows)
        return [
            tuple(self._findings(row, length, text, offends=offends))
            for row, length, text, offends in zip(rows, tokens, texts, swearing, strict=True)
        ]

    def sketches(self, rows: Sequence[Row]) -> list[bytes]:
        """Return what near duplicates are found by, of each row; nothing where they are not looked for.

        Rows with images have the same texts about different things; they are like none but themselves.
        """
        if not self.quality.finds_near_duplicates:
            return [b""] * len(rows)
        found = sketches([text_of(row) for row in rows])
        return [
            hashlib.shake_256(row.digest).digest(len(sketch)) if row.images else sketch
            for row, sketch in zip(rows, found, strict=True)
        ]

    def _findings(self, row: Row, tokens: int, text: str, *, offends: bool) -> Iterator[Finding]:
        asked = self.quality
        if tokens > self.longest:
            yield Finding("TooLong", f"{tokens} tokens")
        if tokens < asked.min_tokens and asked.too_short != "Keep":
            yield Finding("TooShort", f"{tokens} tokens")
        if asked.secrets != "Keep":
            for kind in secret_kinds(text)[:1]:
                yield Finding("Secret", kind)
        if asked.emails != "Keep" and has_email(text):
            yield Finding("Email")
        if offends:
            yield Finding("Profanity")
        if asked.cut_off_answers != "Keep" and is_cut_off(row.answer):
            yield Finding("CutOffAnswer")


def text_of(row: Row) -> str:
    """Return all that people wrote in a row."""
    messages = (*row.messages, row.rejected) if row.rejected else row.messages
    return "\n".join(message_text(message) for message in messages)

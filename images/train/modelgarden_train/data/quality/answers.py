"""Tells answers that stop before their end: in the middle of a sentence, or of a block of code. Pure."""

# ruff: noqa: RUF001 -- Chinese and Japanese signs are meant

from __future__ import annotations

import re
from typing import Final

_FENCE: Final = re.compile(r"^\s*(?:```|~~~)", re.MULTILINE)
_SENTENCE_ENDS: Final = re.compile(r"[.!?…][\"'”’)\]]*\s|[。！？]")
_UNFINISHED: Final = re.compile(r"[,:(\[{–—、，：（「『-]")
_LIST_ITEM: Final = re.compile(r"(?:[-*+•]|\d+[.)])\s")
_LEAST_WORDS: Final = 5
"""Of a last line that ends in a comma or the like: shorter ones are a greeting, a label or code."""


def is_cut_off(answer: str) -> bool:
    """Tell whether an answer stops before its end, judged by its form alone.

    So it is where a block of code is not closed; where the last line, if it is neither code nor item of a list, has a
    whole sentence and then one without an end; or where it ends in a comma, a dash or an open bracket. An answer that is
    one word, a label, or a single sentence without a full stop is not.
    """
    text = answer.rstrip()
    fences = len(_FENCE.findall(text))
    if fences % 2:
        return True
    last = text.rsplit("\n", 1)[-1].strip()
    if not last or _FENCE.match(last) or _LIST_ITEM.match(last):
        return False
    if _UNFINISHED.match(last[-1]):
        return len(last.split()) >= _LEAST_WORDS or bool(_SENTENCE_ENDS.search(last))
    return last[-1].isalnum() and bool(_SENTENCE_ENDS.search(last)) and not _is_address(last)


def _is_address(line: str) -> bool:
    """Tell whether the last word is an address or a path, which has no full stop behind it."""
    word = line.split()[-1]
    return "://" in word or "/" in word or "@" in word

"""The first example of a dataset as the model sees it, for people to look at."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelgarden_train.data.quality.leaks import without_leaks

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EXAMPLE_CHARACTERS: Final = 600
"""Of an example in the status, whose pods have 4 KiB for all that they tell."""
_TOKENS: Final = 16_384
_REPEATED: Final = re.compile(r"(<[^<>\s]{1,40}>)\1{3,}")
"""A token that stands for each piece of an image."""
_CUT: Final = " ..."


def rendered_example(tokenizer: PreTrainedTokenizerBase, input_ids: list[int]) -> str:
    """Return a row as text with its special tokens; keys and addresses are marked before it is cut, which halves none."""
    text = _REPEATED.sub(_counted, without_leaks(str(tokenizer.decode(input_ids[:_TOKENS]))))
    if len(text) <= EXAMPLE_CHARACTERS:
        return text
    return text[: EXAMPLE_CHARACTERS - len(_CUT)] + _CUT


def _counted(found: re.Match[str]) -> str:
    return f"{found[1]} x {len(found[0]) // len(found[1])}"

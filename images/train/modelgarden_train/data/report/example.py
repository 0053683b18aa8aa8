"""The first example of a dataset as the model sees it, for people to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelgarden_train.data.quality.leaks import without_leaks

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EXAMPLE_CHARACTERS: Final = 600
"""Of an example in the status, whose pods have 4 KiB for all that they tell."""
_TOKENS: Final = 4096
_CUT: Final = " ..."


def rendered_example(tokenizer: PreTrainedTokenizerBase, input_ids: list[int]) -> str:
    """Return a row as text with its special tokens; keys and addresses are marked before it is cut, which halves none."""
    text = without_leaks(str(tokenizer.decode(input_ids[:_TOKENS])))
    if len(text) <= EXAMPLE_CHARACTERS:
        return text
    return text[: EXAMPLE_CHARACTERS - len(_CUT)] + _CUT

"""The base model's tokenizer, for the processes that prepare rows."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from modelgarden_train.data.chat import complete_tokenizer
from modelgarden_train.models.environment import go_offline, without_torch
from modelgarden_train.models.loading import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


@cache
def tokenizer_of(folder: Path, chat_template: str | None) -> PreTrainedTokenizerBase:
    """Load, once in a process, the tokenizer of a model folder, with what it lacks for training and the given template.

    Raises:
        UserError: ModelInvalid, there is none or it is broken.
    """
    go_offline()
    with without_torch():
        tokenizer = load_tokenizer(folder)
    if complete_tokenizer(tokenizer, chat_template):
        logger.info("The base model has no chat template; a plain one is used and saved with the artifact")
    return tokenizer

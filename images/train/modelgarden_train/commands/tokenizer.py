"""The base model's tokenizer, for the processes that prepare rows."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from modelgarden_train.data.chat import complete_tokenizer
from modelgarden_train.models.environment import go_offline, without_torch
from modelgarden_train.models.loading import load_tokenizer
from modelgarden_train.models.vision import with_image_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


@cache
def tokenizer_of(
    folder: Path, chat_template: str | None, vision_source: str | None = None
) -> PreTrainedTokenizerBase:
    """Load, once in a process, the tokenizer of a model folder, with what it lacks for training and the given template.

    Of a vision model, whose source is given, only a template that the model or the job has.

    Raises:
        UserError: ModelInvalid, there is none or it is broken.
    """
    go_offline()
    with without_torch():
        tokenizer = load_tokenizer(folder)
    if vision_source is not None and chat_template is None:
        with_image_template(tokenizer, folder, source=vision_source)
    if complete_tokenizer(tokenizer, chat_template):
        logger.info("The base model has no chat template; a plain one is used and saved with the artifact")
    return tokenizer

"""What a model makes of prepared rows: the losses of their reference answers, and the answers that it generates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from modelgarden_train.data.chat import stop_token_ids
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.evaluation.sight import Sight
from modelgarden_train.models.batches import batches, padded, work_through
from modelgarden_train.models.generation import answer_limit, generate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LOGITS_BYTES = 1024**3
"""Most memory for the logits of one batch: they dwarf everything else where the vocabulary is large."""


_SEEN_AT_ONCE: Final = 8
"""Rows with images of one batch: an image takes four times as many patches as tokens through the part that sees."""


def completion_losses(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[PreparedRow],
    *,
    sight: Sight | None = None,
) -> list[list[float]]:
    """Return the negative log-likelihood of every token of the reference answers, row by row."""
    import torch

    if not rows:
        return []
    vocabulary = model.get_input_embeddings().weight.shape[0]
    lengths = [row.spans[-1][1] for row in rows]
    first_size = max(1, LOGITS_BYTES // (4 * vocabulary * max(lengths)))
    if sight is not None:
        first_size = min(first_size, _SEEN_AT_ONCE)

    def score(batch: list[int]) -> list[list[float]]:
        sequences = [rows[index].input_ids[: lengths[index]] for index in batch]
        ids, mask = padded(sequences, tokenizer.pad_token_id, left=False, device=model.device)
        seen = _seen(sight, [rows[index] for index in batch], ids)
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask, **seen).logits[:, :-1].float()
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none").cpu()
        return [
            losses[place, rows[index].spans[-1][0] - 1 : lengths[index] - 1].tolist()
            for place, index in enumerate(batch)
        ]

    return work_through(score, batches(lengths, size=first_size))


def answers_of(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[PreparedRow],
    *,
    max_new_tokens: int,
    sight: Sight | None = None,
) -> list[list[int]]:
    """Return the tokens of the likeliest answers, each with the one that ends it unless the limit does."""
    if not rows:
        return []
    prompts = [row.prompt_ids for row in rows]
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return generate(
        model,
        tokenizer,
        prompts,
        limits=[answer_limit(len(prompt), wanted=max_new_tokens, positions=positions) for prompt in prompts],
        stops=stop_token_ids(tokenizer, [row.reference_ids for row in rows]),
        beside=(lambda batch, ids: _seen(sight, [rows[index] for index in batch], ids)) if sight else None,
    )


def _seen(sight: Sight | None, rows: Sequence[PreparedRow], ids: Any) -> dict[str, Any]:
    """Return the tensors of the images of a batch's rows."""
    if sight is None:
        return {}
    return {
        name: tensor.to(ids.device)
        for name, tensor in sight.tensors([row.images for row in rows], ids).items()
    }


def texts_of(tokenizer: PreTrainedTokenizerBase, answers: Sequence[Sequence[int]]) -> list[str]:
    """Return answers without special tokens and surrounding space."""
    texts: list[str] = tokenizer.batch_decode([list(ids) for ids in answers], skip_special_tokens=True)
    return [text.strip() for text in texts]

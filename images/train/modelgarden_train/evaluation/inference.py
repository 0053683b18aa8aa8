"""What a model makes of prepared rows: the losses of their reference answers, and the answers that it generates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

from modelgarden_train.data.chat import stop_token_ids
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.models.loading import release_memory

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LOGITS_BYTES = 1024**3
"""Most memory for the logits of one batch: they dwarf everything else where the vocabulary is large."""
GENERATION_BATCH = 128

Item = TypeVar("Item")


def completion_losses(
    model: Any, tokenizer: PreTrainedTokenizerBase, rows: Sequence[PreparedRow]
) -> list[list[float]]:
    """Return the negative log-likelihood of every token of the reference answers, row by row."""
    import torch

    if not rows:
        return []
    vocabulary = model.get_input_embeddings().weight.shape[0]
    lengths = [row.spans[-1][1] for row in rows]
    first_size = max(1, LOGITS_BYTES // (4 * vocabulary * max(lengths)))

    def score(batch: list[int]) -> list[list[float]]:
        sequences = [rows[index].input_ids[: lengths[index]] for index in batch]
        ids, mask = _padded(sequences, tokenizer.pad_token_id, left=False, device=model.device)
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none").cpu()
        return [
            losses[place, rows[index].spans[-1][0] - 1 : lengths[index] - 1].tolist()
            for place, index in enumerate(batch)
        ]

    return _in_batches(score, batches(lengths, size=first_size))


def generate(
    model: Any, tokenizer: PreTrainedTokenizerBase, rows: Sequence[PreparedRow], *, max_new_tokens: int
) -> list[str]:
    """Return the greedy answers, without special tokens and surrounding space."""
    import torch
    from transformers import GenerationConfig

    prompts = [row.prompt_ids for row in rows]
    lengths = [len(prompt) for prompt in prompts]
    positions = getattr(model.config, "max_position_embeddings", None)
    limits = [answer_limit(length, wanted=max_new_tokens, positions=positions) for length in lengths]
    stops = stop_token_ids(tokenizer, [row.reference_ids for row in rows])

    def answer(batch: list[int]) -> list[str]:
        settings = GenerationConfig(
            do_sample=False,
            max_new_tokens=limits[batch[0]],
            eos_token_id=stops,
            pad_token_id=tokenizer.pad_token_id,
            use_cache=True,
        )
        ids, mask = _padded(
            [prompts[index] for index in batch], tokenizer.pad_token_id, left=True, device=model.device
        )
        with torch.inference_mode():
            output = model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
        texts = tokenizer.batch_decode(output[:, ids.shape[1] :], skip_special_tokens=True)
        return [text.strip() for text in texts]

    return _in_batches(answer, batches(lengths, size=GENERATION_BATCH, limits=limits))


def answer_limit(prompt_tokens: int, *, wanted: int, positions: int | None) -> int:
    """Return how many tokens may follow a prompt: as many as wanted, where the model has positions for them."""
    return wanted if positions is None else max(1, min(wanted, positions - prompt_tokens))


def batches(lengths: Sequence[int], *, size: int, limits: Sequence[int] | None = None) -> Iterator[list[int]]:
    """Yield all rows, those of like length together, and none in one batch with a row of another limit."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for _, rows in groupby(order, key=lambda row: limits[row] if limits else None):
        yield from _chunks(list(rows), size)


def _in_batches(work: Callable[[list[int]], list[Item]], rows: Iterable[list[int]]) -> list[Item]:
    """Work through the batches and return the results by row; a batch that does not fit the GPU is halved."""
    from torch import OutOfMemoryError

    results: dict[int, Item] = {}
    waiting = list(rows)[::-1]
    while waiting:
        batch = waiting.pop()
        try:
            done = work(batch)
        except OutOfMemoryError:
            if len(batch) == 1:
                raise
            done = None
        if done is None:
            release_memory()
            half = len(batch) // 2
            waiting += [batch[half:], batch[:half]]
            continue
        results.update(zip(batch, done, strict=True))
    return [results[index] for index in range(len(results))]


def _chunks(items: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _padded(sequences: Sequence[Sequence[int]], pad: int, *, left: bool, device: Any) -> tuple[Any, Any]:
    """Return token ids and attention mask, padded on one side."""
    import torch

    width = max(map(len, sequences))
    ids = torch.full((len(sequences), width), pad)
    mask = torch.zeros((len(sequences), width), dtype=torch.long)
    for place, sequence in enumerate(sequences):
        where = slice(width - len(sequence), width) if left else slice(0, len(sequence))
        ids[place, where] = torch.tensor(sequence)
        mask[place, where] = 1
    return ids.to(device), mask.to(device)

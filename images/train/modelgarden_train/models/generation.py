"""What a model answers to prompts, in batches that fit the memory: the likeliest answers, or sampled ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelgarden_train.models.batches import batches, padded, work_through

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

GENERATION_BATCH = 128
SEEING_BATCH = 8
"""Of prompts with images, which take many times the memory."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn."""

    temperature: float
    top_p: float
    seed: int
    """The same prompts get the same answers with it, whatever was drawn before."""


def generate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    limits: Sequence[int],
    stops: Sequence[int],
    sampling: Sampling | None = None,
    beside: Callable[[list[int], Any], dict[str, Any]] | None = None,
) -> list[list[int]]:
    """Return the tokens of an answer to each prompt, with the one that ends it unless the limit does.

    `limits` are the most tokens of each answer, `stops` the tokens that end one; the likeliest tokens are taken where
    nothing is sampled. `beside` gives the tensors that go with the token ids of some of the prompts, of their images.

    Raises:
        torch.OutOfMemoryError: a single prompt does not fit.
    """
    import torch

    lengths = [len(prompt) for prompt in prompts]

    def answer(batch: list[int]) -> list[list[int]]:
        settings = _settings(tokenizer, limits[batch[0]], stops, sampling)
        ids, mask = padded(
            [prompts[index] for index in batch], tokenizer.pad_token_id, left=True, device=model.device
        )
        seen = beside(batch, ids) if beside else {}
        with torch.inference_mode():
            output = model.generate(input_ids=ids, attention_mask=mask, generation_config=settings, **seen)
        return [_ended(row, stops) for row in output[:, ids.shape[1] :].tolist()]

    with _drawn_by(sampling):
        size = SEEING_BATCH if beside else GENERATION_BATCH
        return work_through(answer, batches(lengths, size=size, limits=limits))


def answer_limit(prompt_tokens: int, *, wanted: int, positions: int | None) -> int:
    """Return how many tokens may follow a prompt: as many as wanted, where the model has positions for them."""
    return wanted if positions is None else max(1, min(wanted, positions - prompt_tokens))


def _settings(
    tokenizer: PreTrainedTokenizerBase, limit: int, stops: Sequence[int], sampling: Sampling | None
) -> GenerationConfig:
    from transformers import GenerationConfig

    drawn = (
        {} if sampling is None else {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    )
    return GenerationConfig(
        do_sample=sampling is not None,
        max_new_tokens=limit,
        eos_token_id=list(stops),
        pad_token_id=tokenizer.pad_token_id,
        use_cache=True,
        **drawn,
    )


def _ended(ids: list[int], stops: Sequence[int]) -> list[int]:
    """Cut an answer behind the token that ends it: shorter ones of a batch are padded."""
    end = next((place for place, token in enumerate(ids) if token in stops), len(ids) - 1)
    return ids[: end + 1]


@contextmanager
def _drawn_by(sampling: Sampling | None) -> Iterator[None]:
    """Draw with the seed, and leave what draws elsewhere as it was."""
    import torch

    if sampling is None:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(sampling.seed)
        yield

"""The memory that a training takes, from the model's size and the lengths of the rows. Pure.

What is kept of a token between the passes forward and back follows Unsloth's kernels (unsloth 2026.10.9): the
inputs of norms and matrices, queries, keys and values, the attention's output and both halves of the MLP. How a step is
split, and what a trained parameter takes, are the trainer's own (`objectives.memory`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from modelgarden.api.finetunejob import Method, Needs
from modelgarden.api.pods import RunConfig
from modelgarden_train.estimate.model_size import ModelSize, layer_of
from modelgarden_train.models.adapters import may_learn
from modelgarden_train.objectives.group import sequences, widest
from modelgarden_train.objectives.memory import (
    EMBEDDED_BYTES,
    MOST_GPU_TOKENS,
    USABLE,
    bytes_of_trained,
    first_plan,
)

HALF: Final = 2
"""Bytes of a number in bfloat16."""
NF4_BYTES: Final = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Of a parameter in 4 bit: with its share of a block's scale in 8 bit, and of that scale's in 32 (QLoRA, Dettmers et al.
2023, blocks of 64 and 256)."""
LOGIT_BYTES: Final = 16
"""Of one logit and all that is made of it in the loss (_CE_BYTES_PER_LOGIT of unsloth_zoo's cross_entropy_loss.py)."""
_FULL_EXTRA_WIDTHS: Final = 2
"""Widths of the MLP that a layer of Transformers keeps beyond Unsloth's kernels: the activation and the product."""


def needs_of(config: RunConfig, size: ModelSize, lengths: Sequence[int]) -> Needs:
    """Return what a training on rows of these lengths, in tokens, takes of a GPU."""
    training, method = config.training, config.method
    longest, batch = widest(config, max(lengths)), training.effective_batch_size
    rows = min(batch, len(lengths)) * sequences(config)
    packed = config.objective.type == "SFT" and training.packing and training.neftune_noise_alpha is None
    padded = size.padded or not packed
    plan = first_plan(effective_batch=batch, sequences=sequences(config), longest_row=longest, gpu=True)
    trained = _trained(config, size)
    kept = _kept_of_a_layer(size, method)
    return Needs(
        parameters=size.parameters,
        active_parameters=size.active,
        trained_parameters=trained,
        weights_bytes=_weights(size, method),
        trained_bytes=_trained_bytes(config, size, trained),
        token_bytes=size.layers * kept + _outside_of_layers(size),
        checkpointed_token_bytes=kept + _outside_of_layers(size),
        logits_bytes=LOGIT_BYTES * size.vocabulary,
        step_tokens=rows * longest
        if padded
        else largest_step(lengths, batch=batch, steps=training.steps(len(lengths))),
        step_rows=rows,
        longest_row=longest,
        first_budget=plan.budget,
        most_budget=MOST_GPU_TOKENS,
        usable_percent=round(100 * USABLE),
    )


def largest_step(lengths: Sequence[int], *, batch: int, steps: int) -> int:
    """Return the tokens of the largest of so many optimizer steps that is to be expected of rows in random order.

    A step's tokens are about normal around batch x mean; the largest of n of them lies sqrt(2 ln n) deviations above
    (Gumbel 1935). No step is longer than `batch` of the longest row.
    """
    rows = min(batch, len(lengths))
    mean, longest = sum(lengths) / len(lengths), max(lengths)
    deviation = math.sqrt(rows * sum((length - mean) ** 2 for length in lengths) / len(lengths))
    expected = rows * mean + deviation * math.sqrt(2 * math.log(steps))
    return min(rows * longest, max(longest, round(expected)))


def _weights(size: ModelSize, method: Method) -> int:
    """Return the bytes of the weights that are not trained."""
    if method == "Full":
        return 0
    if method == "LoRA":
        return HALF * size.parameters
    return HALF * (size.parameters - size.quantized) + round(NF4_BYTES * size.quantized)


def _trained(config: RunConfig, size: ModelSize) -> int:
    """Return the parameters that are trained: all, or two matrices of the rank beside each that is adapted.

    DoRA has a magnitude for each row of the weight besides.
    """
    if config.method == "Full":
        return size.parameters
    lora = config.training.lora
    wanted, more = lora.target_modules, 1 if lora.use_dora else 0
    return sum(
        lora.rank * (rows + columns) + more * rows
        for name, (rows, columns) in size.linear.items()
        if (wanted is None or layer_of(name) in wanted) and may_learn(config, name)
    )


def _trained_bytes(config: RunConfig, size: ModelSize, trained: int) -> int:
    """Return the bytes of all that is trained."""
    each = bytes_of_trained(config)
    embedded = size.vocabulary * size.hidden if config.training.optimizer == "AdamW8bit" else 0
    return each * trained + (EMBEDDED_BYTES - each) * embedded


def _kept_of_a_layer(size: ModelSize, method: Method) -> int:
    """Return the bytes that a layer keeps of a token: four widths of the model (the inputs of both norms, and theirs)."""
    inner = 2 * size.inner + (_FULL_EXTRA_WIDTHS * size.inner if method == "Full" else 0)
    return HALF * (4 * size.hidden + 2 * size.queries + 2 * size.keys + inner)


def _outside_of_layers(size: ModelSize) -> int:
    """Return the bytes of a token around the layers: embedding, last norm, and the gradient that the loss leaves."""
    return HALF * 4 * size.hidden

"""How many tokens go through the model at once, so that a step fits the memory. Pure.

The effective batch size is the user's and never changes. A step is split into passes within a budget of tokens. When
CUDA runs out of memory the budget is halved, down to the longest row, then gradient checkpointing is tried, then the
job fails with the arithmetic. Where a step takes several passes and memory is left, the budget grows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from modelgarden.api.finetunejob import Method
from modelgarden.api.pods import RunConfig
from modelgarden_pod.errors import UserError

GPU_TOKENS: Final = 16_384
"""Tokens of a first pass on a GPU: the GPUs of today are busy with them."""
MOST_GPU_TOKENS: Final = 4 * GPU_TOKENS
CPU_TOKENS: Final = 8_192
USABLE: Final = 0.9
"""Share of the GPU's memory that a larger budget may count on; the rest is what fragments of it cannot be used."""
_WORTH_IT: Final = 1.25
"""Factor by which a budget grows at least."""
TRAINED_BYTES: Final[dict[Method, int]] = {"LoRA": 22, "QLoRA": 22, "Full": 8}
"""Bytes of a trained parameter. An adapter's: the weight and its gradient, which is there twice while it is gathered, in
bfloat16; its master (`masters`), the master's gradient and AdamW's two moments in 32 bit. Where all weights are trained
(Unsloth's `full_finetuning`): weight, gradient and moments, all in bfloat16."""
EIGHT_BIT_BYTES: Final = 6
"""Of a trained parameter where bitsandbytes keeps AdamW's moments in 8 bits, with four bytes of scale for 256 of them."""
EMBEDDED_BYTES: Final = 12
"""Then of one of the embedding, whose moments Transformers has it keep in 32 bits."""
_LIGHTER: Final[dict[Method, tuple[str, ...]]] = {
    "Full": ("method LoRA or QLoRA",),
    "LoRA": ("method QLoRA",),
    "QLoRA": (),
}
"""What a run with a method may use instead."""


def bytes_of_trained(config: RunConfig) -> int:
    """Return the bytes of a trained parameter: weight, gradient and what the optimizer keeps of it."""
    return EIGHT_BIT_BYTES if config.training.optimizer == "AdamW8bit" else TRAINED_BYTES[config.method]


@dataclass(frozen=True)
class Peak:
    """What the passes of one step took of a GPU's memory, in bytes."""

    tokens: int
    """Of the largest pass."""
    before: int
    """In use between the steps: weights and the optimizer's state."""
    most: int
    """In use at the peak."""
    total: int
    """What this process can have."""


@dataclass(frozen=True)
class StepPlan:
    """One optimizer step."""

    effective_batch: int
    budget: int
    """Most tokens of a pass, unless a single row has more."""
    longest_row: int
    """Tokens of the longest row."""
    gradient_checkpointing: bool = False
    limit: int = MOST_GPU_TOKENS
    """What the budget may grow to: more is no faster, or did not fit."""

    def smaller(self, tokens: int) -> StepPlan | None:
        """Return the next plan that needs less memory than a pass of so many tokens, None where there is none."""
        shortened = max(self.longest_row, min(self.budget, tokens) // 2)
        if shortened < min(self.budget, tokens):
            return replace(self, budget=shortened, limit=min(self.limit, tokens))
        if not self.gradient_checkpointing:
            return replace(self, gradient_checkpointing=True, limit=MOST_GPU_TOKENS)
        return None

    def larger(self, peak: Peak) -> StepPlan:
        """Return the plan with what the memory holds beyond the peak of a step, or the same one."""
        per_token = max(1.0, (peak.most - peak.before) / peak.tokens)
        holds = int((peak.total * USABLE - peak.before) / per_token)
        budget = min(holds, self.limit)
        return replace(self, budget=budget) if budget >= self.budget * _WORTH_IT else self


def first_plan(*, effective_batch: int, longest_row: int, gpu: bool, sequences: int = 1) -> StepPlan:
    """Return the plan to begin with; each row is so many sequences of its own."""
    tokens = GPU_TOKENS if gpu else CPU_TOKENS
    return StepPlan(
        effective_batch=effective_batch,
        budget=max(longest_row, min(tokens, effective_batch * sequences * longest_row)),
        longest_row=longest_row,
    )


def out_of_memory(
    plan: StepPlan, *, config: RunConfig, parameters: int, trainable: int, total_bytes: int, used_bytes: int
) -> UserError:
    """Return the failure of the smallest plan, with what the memory holds."""
    gib = 1024**3
    each, optimizer = bytes_of_trained(config), config.training.optimizer
    smaller = ["a smaller training.maxSequenceLength"]
    if config.method != "Full":
        smaller.append("a smaller training.lora.rank")
    elif optimizer == "AdamW":
        smaller.insert(0, "training.optimizer AdamW8bit")
    return UserError(
        "OutOfMemory",
        f"training does not fit the GPU's {total_bytes / gib:.1f} GiB even with one row of "
        f"{plan.longest_row} tokens at a time and gradient checkpointing: {used_bytes / gib:.1f} GiB were in use for "
        f"{parameters / 1e6:.1f} M parameters, {trainable / 1e6:.1f} M of them trained at {each} bytes "
        f"each ({each * trainable / gib:.1f} GiB for weights, gradients and {optimizer}). Use a GPU with more "
        "memory, "
        f"{_any_of(*_LIGHTER[config.method], *smaller)}",
    )


def model_does_not_fit(method: Method, said: object) -> UserError:
    """Return the failure of a model that the GPU cannot even hold, with what CUDA said."""
    instead = _any_of(*_LIGHTER[method], "a smaller base model")
    return UserError(
        "OutOfMemory",
        f"the model does not fit the GPU's memory; use a GPU with more memory, {instead}: {said}",
    )


def _any_of(*choices: str) -> str:
    *others, last = choices
    return f"{', '.join(others)} or {last}" if others else f"or {last}"

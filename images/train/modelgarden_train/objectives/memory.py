"""How a step is split so that it fits the memory. Pure.

The effective batch size is the user's and never changes. The micro-batch is its largest divisor within a budget of
tokens; when CUDA runs out of memory, the next smaller divisor is tried, then gradient checkpointing, then the job
fails with the arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from modelgarden.api.finetunejob import Method
from modelgarden_pod.errors import UserError

GPU_TOKENS = 16_384
"""Tokens of a first micro-batch on a GPU; more do not make a step faster on the GPUs of today."""
CPU_TOKENS = 8_192
_LIGHTER: dict[Method, tuple[str, ...]] = {
    "Full": ("method LoRA or QLoRA",),
    "LoRA": ("method QLoRA",),
    "QLoRA": (),
}
"""What a run with a method may use instead."""


@dataclass(frozen=True)
class StepPlan:
    """One optimizer step."""

    effective_batch: int
    micro_batch: int
    longest_row: int
    """Tokens of the longest row: what the largest micro-batch is padded to."""
    gradient_checkpointing: bool = False

    @property
    def gradient_accumulation(self) -> int:
        """Micro-batches per optimizer step."""
        return self.effective_batch // self.micro_batch

    def smaller(self) -> StepPlan | None:
        """Return the next plan that needs less memory, None where there is none."""
        below = [size for size in divisors(self.effective_batch) if size < self.micro_batch]
        if below:
            return replace(self, micro_batch=below[-1])
        if not self.gradient_checkpointing:
            return replace(self, gradient_checkpointing=True)
        return None


def first_plan(*, effective_batch: int, longest_row: int, gpu: bool) -> StepPlan:
    """Return the plan to begin with."""
    budget = GPU_TOKENS if gpu else CPU_TOKENS
    fitting = [size for size in divisors(effective_batch) if size * longest_row <= budget]
    return StepPlan(
        effective_batch=effective_batch, micro_batch=fitting[-1] if fitting else 1, longest_row=longest_row
    )


def divisors(number: int) -> list[int]:
    """Return the divisors in rising order."""
    return [candidate for candidate in range(1, number + 1) if number % candidate == 0]


def out_of_memory(
    plan: StepPlan, *, method: Method, parameters: int, trainable: int, total_bytes: int, used_bytes: int
) -> UserError:
    """Return the failure of the smallest plan, with what the memory holds."""
    gib = 1024**3
    smaller = ["a smaller training.maxSequenceLength"]
    if method != "Full":
        smaller.append("a smaller training.lora.rank")
    return UserError(
        "OutOfMemory",
        f"training does not fit the GPU's {total_bytes / gib:.1f} GiB even with micro-batch {plan.micro_batch} of "
        f"{plan.longest_row} tokens and gradient checkpointing: {used_bytes / gib:.1f} GiB were in use for "
        f"{parameters / 1e6:.1f} M parameters, {trainable / 1e6:.1f} M of them trained at 16 bytes each "
        f"({16 * trainable / gib:.1f} GiB for weights, gradients and AdamW). Use a GPU with more memory, "
        f"{_any_of(*_LIGHTER[method], *smaller)}",
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

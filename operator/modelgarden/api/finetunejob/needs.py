"""What a training takes of whichever GPU it gets: written by prepare, read by the operator, which knows the GPUs.

The arithmetic of a pass's memory is here, so that what is estimated and what is compared with a real run are one thing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from modelgarden.api.base import ApiModel

Bytes = Annotated[int, Field(ge=0, le=9_007_199_254_740_991)]
Count = Annotated[int, Field(ge=0, le=9_007_199_254_740_991)]

CONTEXT_BYTES: Final = 600 * 1024**2
"""Of a GPU's memory, what the driver and CUDA's kernels take before the first tensor."""
ERROR: Final = 0.15
"""Share by which the estimate may be wrong."""
MOST_LOSS_BYTES: Final = 4 * 1024**3
"""What Unsloth lets the logits of a pass count, else it takes them in parts (_CE_TARGET_GB_CAP of unsloth_zoo's
cross_entropy_loss.py)."""
LOSS_PARTS: Final = 4
"""It takes as many parts, or a multiple of them (get_chunk_size there)."""
LOSS_HELD: Final = 0.6
"""Share of what Unsloth counts with that its compiled loss really holds: 48.9 GB of an H100 with 8,120 tokens of an 8B
Llama in a pass, of which weights, adapters and activations are 46.4."""


@dataclass(frozen=True)
class Pass:
    """The largest pass of a step."""

    tokens: int
    gradient_checkpointing: bool
    bytes: int
    """Memory at its peak."""


class Needs(ApiModel):
    """What a training takes, whatever the GPU."""

    parameters: Count = Field(description="Parameters of the base model.")
    active_parameters: Count = Field(
        description="Parameters that a token is multiplied with: without the embedding's, and of a mixture those of the "
        "experts that it goes through."
    )
    trained_parameters: Count = Field(description="Parameters that are trained: the adapters', or all.")
    weights_bytes: Bytes = Field(description="Weights of the base model that are not trained, in bytes.")
    trained_bytes: Bytes = Field(
        description="What is trained, in bytes: weights, gradients and the optimizer's two moments."
    )
    token_bytes: Bytes = Field(description="Activations kept for one token of a pass, in bytes.")
    checkpointed_token_bytes: Bytes = Field(
        description="The same with gradient checkpointing, which is used where nothing else fits."
    )
    logits_bytes: Bytes = Field(
        description="Logits of one token with all that the loss makes of them, in bytes; a pass of more than 4 GiB is taken "
        "in parts."
    )
    step_tokens: Count = Field(
        description="Tokens of the largest optimizer step, by the lengths of the rows."
    )
    step_rows: Annotated[int, Field(ge=1)] = Field(description="Rows of a step.")
    longest_row: Annotated[int, Field(ge=1)] = Field(description="Tokens of the longest row.")
    first_budget: Annotated[int, Field(ge=1)] = Field(
        description="Tokens of a pass that the trainer begins with, on any GPU."
    )
    most_budget: Annotated[int, Field(ge=1)] = Field(
        description="Tokens of a pass that it grows to where the memory holds them."
    )
    usable_percent: Annotated[int, Field(ge=1, le=100)] = Field(
        description="Share of the GPU's memory that a larger pass may count on."
    )

    def shared(self, processes: int) -> Needs:
        """Return what each of several processes needs that share the rows of every step."""
        rows = math.ceil(self.step_rows / processes)
        tokens = max(self.longest_row, math.ceil(self.step_tokens * rows / self.step_rows))
        return self.model_copy(update={"step_rows": rows, "step_tokens": tokens})

    def bytes_of(self, tokens: int, *, gradient_checkpointing: bool = False) -> int:
        """Return the memory at the peak of a pass, in bytes."""
        per_token = self.checkpointed_token_bytes if gradient_checkpointing else self.token_bytes
        return self.weights_bytes + self.trained_bytes + tokens * per_token + self._loss(tokens)

    def least(self) -> Pass:
        """Return the smallest pass there is: the longest row alone, with gradient checkpointing.

        Its logits count nothing: the less memory is left, the more parts they are taken in.
        """
        tokens = self.longest_row * self.checkpointed_token_bytes
        return Pass(self.longest_row, True, self.weights_bytes + self.trained_bytes + tokens)

    def may_fit(self, gpu_bytes: int) -> bool:
        """Tell whether a training may fit a GPU by some means, for all that the estimate may be wrong."""
        return self.least().bytes * (1 - ERROR) <= gpu_bytes - CONTEXT_BYTES

    def pass_on(self, gpu_bytes: int | None) -> Pass | None:
        """Return the passes that the trainer comes to on a GPU; None where not even the smallest fits.

        It takes as few passes as the memory holds, as `StepPlan` of the trainer does; on a GPU that is not known those
        that it begins with.
        """
        room = None if gpu_bytes is None else gpu_bytes - CONTEXT_BYTES
        for each in self._passes():
            begun_with = each.tokens <= (
                self.longest_row if each.gradient_checkpointing else self.first_budget
            )
            if room is None:
                if begun_with:
                    return each
            elif each.bytes <= (room if begun_with else room * self.usable_percent // 100):
                return each
        return None

    def _passes(self) -> Iterator[Pass]:
        """Yield the largest passes of a step that is split in one, two and more, then with gradient checkpointing."""
        for gradient_checkpointing in (False, True):
            for tokens in self._sizes():
                yield self._pass(tokens, gradient_checkpointing=gradient_checkpointing)

    def _sizes(self) -> Iterator[int]:
        last = None
        for count in range(1, self.step_rows + 1):
            mean_row = self.step_tokens / self.step_rows
            tokens = max(self.longest_row, round(math.ceil(self.step_rows / count) * mean_row))
            if tokens <= max(self.most_budget, self.longest_row) and tokens != last:
                yield tokens
            last = tokens

    def _loss(self, tokens: int) -> int:
        """Return the bytes of a pass's logits while the loss is computed."""
        counted = tokens * self.logits_bytes
        parts = (
            LOSS_PARTS * math.ceil(counted / MOST_LOSS_BYTES / LOSS_PARTS) if counted > MOST_LOSS_BYTES else 1
        )
        return round(LOSS_HELD * counted / parts)

    def _pass(self, tokens: int, *, gradient_checkpointing: bool) -> Pass:
        return Pass(
            tokens=tokens,
            gradient_checkpointing=gradient_checkpointing,
            bytes=self.bytes_of(tokens, gradient_checkpointing=gradient_checkpointing),
        )

"""The passes of one optimizer step, whatever its rows are made of: less at once where CUDA runs out of memory. What was
computed of a step that did not fit is forgotten, and the step begins anew.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from modelgarden_train.models.loading import release_memory
from modelgarden_train.objectives.memory import Peak, StepPlan
from modelgarden_train.objectives.packing import parts
from modelgarden_train.parallel.ranks import Ranks

logger = logging.getLogger(__name__)

_MEASURED_STEP: Final = 2
"""The first step also makes the optimizer's state, so its peak tells nothing of the next ones."""
_FITS: Final = sys.maxsize
"""Tokens of the pass that did not fit, where all did."""

StepRow = Mapping[str, Any]
"""A row as an objective trains on it: token ids, and what else it has, under names of its own."""


class Form(Protocol):
    """How an objective's rows become the tensors of a pass."""

    @property
    def why_padded(self) -> str | None:
        """Why rows are padded to the widest of a pass, None where they are not."""
        ...

    def tokens(self, row: StepRow) -> int:
        """Return the tokens of a row that go through the model."""
        ...

    def width(self, row: StepRow) -> int:
        """Return the tokens that a row takes of a pass, as wide as the widest where rows are padded."""
        ...

    def weight(self, rows: Sequence[StepRow]) -> int:
        """Return the number of what the loss of a step is the mean over."""
        ...

    def tensors(self, rows: Sequence[StepRow]) -> dict[str, Any]:
        """Return the rows of a pass as the model takes them."""
        ...


@dataclass(frozen=True)
class StepRows:
    """The rows of a step. Not a mapping or a list, so that no library walks through them in search of tensors."""

    rows: Sequence[StepRow]


def collate(rows: Sequence[StepRow]) -> dict[str, Any]:
    """Return the batch of a step, which the passes make tensors of."""
    return {"rows": StepRows(rows)}


def on_device(tensors: dict[str, Any], device: Any) -> dict[str, Any]:
    """Return a pass's tensors on the GPU without waiting for what it still computes, so that it never runs dry.

    A copy from memory that is not pinned waits, and so does reading the lengths back; Unsloth wants those here.
    """
    import torch

    def moved(name: str, value: Any) -> Any:
        if name == "packed_seq_lengths" or not isinstance(value, torch.Tensor):
            return value
        return value.pin_memory().to(device, non_blocking=True)

    if device.type != "cuda":
        return tensors
    return {name: moved(name, value) for name, value in tensors.items()}


class Passes:
    """Runs the steps of a training by a plan, which changes where the memory does not fit or holds more."""

    def __init__(self, plan: StepPlan, form: Form) -> None:
        self.plan = plan
        self.form = form
        self._steps = 0

    def split(self, rows: Sequence[StepRow]) -> list[list[StepRow]]:
        """Return the rows of a step in passes, by the plan as it is now."""
        widths = [self.form.width(row) for row in rows]
        split = parts(widths, budget=self.plan.budget, padded=self.form.why_padded is not None)
        return [[rows[place] for place in places] for places in split]

    def run(
        self,
        rows: Sequence[StepRow],
        *,
        ranks: Ranks,
        forward_and_back: Callable[[dict[str, Any]], Any],
        forget: Callable[[], None],
    ) -> Any:
        """Return the loss of this process's rows of a step, the sum over their passes; None where it has no rows.

        `forget` drops the gradients of a try that did not fit. Where it did not in one process, all of them try again.

        Raises:
            torch.OutOfMemoryError: a single row does not fit, with or without gradient checkpointing as the plan has it.
            PeerLost: another process has ended.
        """
        while True:
            passes = self.split(rows)
            measured = self._steps + 1 == _MEASURED_STEP
            before = _start_measuring() if measured and len(passes) > 1 else None
            loss, done = _loss_of(map(self.form.tensors, passes), forward_and_back)
            failed = self._tokens(passes[done]) if done < len(passes) else _FITS
            smallest = ranks.least(failed, at="passes")
            if smallest == _FITS:
                self._steps += 1
                if measured:
                    self._grow(passes, before, ranks)
                return loss
            forget()
            release_memory()
            self._shrink(smallest)

    def _grow(self, passes: list[list[StepRow]], before: int | None, ranks: Ranks) -> None:
        """Take the largest passes that the memory of each process holds."""
        larger = self.plan
        if before is not None:
            larger = self.plan.larger(_peak(max(map(self._tokens, passes)), before))
        self.plan = replace(self.plan, budget=ranks.least(larger.budget, at="budget"))

    def _tokens(self, rows: Sequence[StepRow]) -> int:
        widths = [self.form.width(row) for row in rows]
        return sum(widths) if self.form.why_padded is None else max(widths) * len(widths)

    def _shrink(self, tokens: int) -> None:
        from torch import OutOfMemoryError

        smaller = self.plan.smaller(tokens)
        if smaller is None or smaller.gradient_checkpointing != self.plan.gradient_checkpointing:
            raise OutOfMemoryError(f"a pass of {tokens} tokens does not fit the GPU")
        logger.warning("Out of GPU memory, trying smaller passes", extra={"plan": str(smaller)})
        self.plan = smaller


def _loss_of(
    passes: Iterable[dict[str, Any]], forward_and_back: Callable[[dict[str, Any]], Any]
) -> tuple[Any, int]:
    """Return the summed loss and how many passes were done, fewer than all where the memory ran out."""
    from torch import OutOfMemoryError

    loss, done = None, 0
    try:
        for tensors in passes:
            part = forward_and_back(tensors)
            loss = part if loss is None else loss + part
            done += 1
    except OutOfMemoryError:
        return (
            None,
            done,
        )  # the exception keeps every tensor of the failed pass alive, so nothing is done in here
    return loss, done


def _start_measuring() -> int | None:
    """Return the bytes that are in use on the GPU now, None on a CPU; the peak is counted from here."""
    import torch

    if not torch.cuda.is_available():
        return None
    torch.cuda.reset_peak_memory_stats()
    return int(torch.cuda.memory_allocated())


def _peak(tokens: int, before: int) -> Peak:
    import torch

    free, _ = torch.cuda.mem_get_info()
    return Peak(
        tokens=tokens,
        before=before,
        most=torch.cuda.max_memory_allocated(),
        total=free + torch.cuda.memory_reserved(),
    )

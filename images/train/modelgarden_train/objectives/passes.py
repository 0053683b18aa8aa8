"""The passes of one optimizer step: tensors without padding where the model allows it, and less at once where CUDA
runs out of memory. What was computed of a step that did not fit is forgotten, and the step begins anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from modelgarden_train.models.loading import release_memory
from modelgarden_train.objectives.memory import Peak, StepPlan
from modelgarden_train.objectives.packing import parts

logger = logging.getLogger(__name__)

IGNORED_LABEL: Final = -100
_MEASURED_STEP: Final = 2
"""The first step also makes the optimizer's state, so its peak tells nothing of the next ones."""

LabelledRow = dict[str, list[int]]
"""Token ids as `input_ids`, and `labels` of the same length."""


@dataclass(frozen=True)
class StepRows:
    """The rows of a step. Not a mapping or a list, so that no library walks through them in search of tensors."""

    rows: Sequence[LabelledRow]

    @property
    def tokens(self) -> int:
        """Tokens of all rows."""
        return sum(len(row["input_ids"]) for row in self.rows)

    @property
    def learned(self) -> int:
        """Tokens that the loss of the step is the mean over."""
        return sum(label != IGNORED_LABEL for label in _labels(self.rows))


def collate(rows: Sequence[LabelledRow]) -> dict[str, Any]:
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


def packed(rows: Sequence[LabelledRow]) -> dict[str, Any]:
    """Return rows as one sequence, kept apart by their positions and lengths; shapes (1, tokens) and (rows,)."""
    import torch

    lengths = [len(row["input_ids"]) for row in rows]
    return {
        "input_ids": torch.tensor([[token for row in rows for token in row["input_ids"]]]),
        "labels": torch.tensor([_labels(rows)]),
        "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
        "packed_seq_lengths": torch.tensor(lengths, dtype=torch.int32),
        "use_cache": False,  # with a cache Transformers does not look for where rows begin, and they meet
    }


def padded(rows: Sequence[LabelledRow], *, pad_token: int) -> dict[str, Any]:
    """Return rows padded on the right to the longest of them; shape (rows, longest)."""
    import torch

    width = max(len(row["input_ids"]) for row in rows)

    def filled(name: str, value: int) -> Any:
        return torch.tensor([row[name] + [value] * (width - len(row[name])) for row in rows])

    ids = filled("input_ids", pad_token)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        mask[place, : len(row["input_ids"])] = 1
    return {"input_ids": ids, "labels": filled("labels", IGNORED_LABEL), "attention_mask": mask}


def _labels(rows: Sequence[LabelledRow]) -> list[int]:
    """Return the labels one after another; nothing precedes a row's first token, so nothing can predict it."""
    return [label for row in rows for label in (IGNORED_LABEL, *row["labels"][1:])]


class Passes:
    """Runs the steps of a training by a plan, which changes where the memory does not fit or holds more."""

    def __init__(self, plan: StepPlan, *, why_padded: str | None, pad_token: int) -> None:
        self.plan = plan
        self.why_padded = why_padded
        """Why rows are padded, None where they are not."""
        self._pad_token = pad_token
        self._steps = 0

    def run(
        self,
        rows: Sequence[LabelledRow],
        *,
        forward_and_back: Callable[[dict[str, Any]], Any],
        forget: Callable[[], None],
    ) -> Any:
        """Return the loss of a step, the sum over its passes; `forget` drops the gradients of a try that did not fit.

        Raises:
            torch.OutOfMemoryError: a single row does not fit, with or without gradient checkpointing as the plan has it.
        """
        while True:
            passes = self._passes(rows)
            measured = self._steps + 1 == _MEASURED_STEP and len(passes) > 1
            before = _start_measuring() if measured else None
            loss, done = _loss_of(map(self._tensors, passes), forward_and_back)
            if done == len(passes):
                self._steps += 1
                if before is not None:
                    self.plan = self.plan.larger(_peak(max(map(self._tokens, passes)), before))
                return loss
            forget()
            release_memory()
            self._shrink(self._tokens(passes[done]))

    def _passes(self, rows: Sequence[LabelledRow]) -> list[list[LabelledRow]]:
        lengths = [len(row["input_ids"]) for row in rows]
        split = parts(lengths, budget=self.plan.budget, padded=self.why_padded is not None)
        return [[rows[place] for place in places] for places in split]

    def _tensors(self, rows: Sequence[LabelledRow]) -> dict[str, Any]:
        return packed(rows) if self.why_padded is None else padded(rows, pad_token=self._pad_token)

    def _tokens(self, rows: Sequence[LabelledRow]) -> int:
        lengths = [len(row["input_ids"]) for row in rows]
        return sum(lengths) if self.why_padded is None else max(lengths) * len(lengths)

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

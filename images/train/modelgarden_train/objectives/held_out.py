"""The loss of the held-out rows while a model is trained: the objective's own, by the same passes as a step's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from modelgarden_train.objectives.passes import StepRow, StepRows, on_device


def held_out_loss(trainer: Any, *, stopping: Callable[[], bool]) -> float | None:
    """Return the mean over the trainer's `eval_dataset`, weighed as the loss of a step is; None where it is to stop first.

    Rows are taken as many at a time as a step has, and shared as those of a step are. No random number is drawn and
    nothing of the training changes.
    """
    import torch

    rows, at_once = list(trainer.eval_dataset), trainer.args.per_device_train_batch_size
    form = trainer.passes.form
    total, weights = 0.0, 0
    with _as_it_is(trainer), torch.no_grad():
        for start in range(0, len(rows), at_once):
            step = rows[start : start + at_once]
            if stopping():
                return None
            loss = _step_loss(trainer, step)
            weight = form.weight(step)
            total += loss * weight
            weights += weight
    return total / max(1, weights)


def _step_loss(trainer: Any, rows: list[StepRow]) -> float:
    """Return the loss of as many rows as a step has."""
    import torch

    trainer.begin(StepRows(rows))
    weight = torch.full((), max(1, trainer.passes.form.weight(rows)), device=trainer.args.device)
    loss = torch.zeros((), dtype=torch.float64, device=trainer.args.device)
    with trainer.ranks.alike(at="held-out rows"):
        for part in trainer.passes.split(trainer.own):
            tensors = on_device(trainer.passes.form.tensors(part), trainer.args.device)
            with trainer.compute_loss_context_manager():
                loss += trainer.compute_loss(trainer.model_wrapped, tensors, num_items_in_batch=weight)
    trainer.ranks.add(loss)
    return float(loss)


@contextmanager
def _as_it_is(trainer: Any) -> Iterator[None]:
    """Have a model answer without dropout or noise, and keep what TRL notes of it apart from the training's metrics."""
    noted = trainer._metrics
    trainer._metrics = {"train": defaultdict(list), "eval": defaultdict(list)}
    trainer.model.eval()
    try:
        yield
    finally:
        trainer.model.train()
        trainer._metrics = noted

"""Trainers of Transformers that are one process of several: each takes a part of a step, all take the same step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from modelgarden_train.objectives.masters import Masters
from modelgarden_train.objectives.passes import Form, StepRow
from modelgarden_train.parallel.ranks import Ranks
from modelgarden_train.parallel.shares import shares


def own_rows(rows: Sequence[StepRow], form: Form, ranks: Ranks) -> list[StepRow]:
    """Return the rows of a step that this process computes."""
    widths = [form.width(row) for row in rows]
    return [rows[place] for place in shares(widths, ranks.size)[ranks.rank]]


def ranked(trainer: type, of: Ranks) -> type:
    """Return a class of trainers that begin with the same weights and sum what each finds; the first one saves."""

    class Ranked(trainer):  # type: ignore[misc]
        """A trainer that is one of several."""

        ranks = of
        masters: Masters | None = None

        def summed(self, loss: Any) -> Any:
            """Sum losses and gradients over the processes; return the loss of the step. None is the loss of no rows."""
            import torch

            if self.masters:
                self.ranks.add(self.masters.gradients)
            else:
                self.ranks.sum_gradients(trained(self.model))
            if loss is None:
                loss = torch.zeros((), device=self.args.device)
            self.ranks.add(loss)
            return loss

        def create_optimizer(self, model: Any = None) -> Any:
            """Begin in all processes with the weights of the first one."""
            self.ranks.spread(parameter.data for parameter in trained(self.model))
            return super().create_optimizer(model)

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            if self.ranks.first:
                super()._save_checkpoint(model, trial)

    return Ranked


def trained(model: Any) -> Iterator[Any]:
    """Yield the parameters that are trained, in their order."""
    return (parameter for parameter in model.parameters() if parameter.requires_grad)

"""Trainers of TRL that take the rows of a whole step at once, in our order, in passes that fit the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.objectives.follow import follower
from modelgarden_train.objectives.masters import led
from modelgarden_train.objectives.numbers import numbers_only
from modelgarden_train.objectives.order import ShuffledSampler
from modelgarden_train.objectives.passes import Passes, StepRow, StepRows, collate, on_device
from modelgarden_train.objectives.ranked import own_rows, ranked
from modelgarden_train.objectives.scope import Scope, TokenCount
from modelgarden_train.objectives.validator import Validator

MakeRows = Callable[[Sequence[PreparedRow]], Iterable[StepRow]]
"""Makes prepared rows such as an objective takes."""


def stepped(
    trainer: type, scope: Scope, model: Any, *, passes: Passes, arguments: Any, rows: MakeRows
) -> Any:
    """Return a trainer of this class; its `passes` know the plan as it is later, its `step` the rows of a step, and its
    `validator` what the held-out rows tell.

    Of several processes each computes the loss of its `own` rows of a step, as parts of the step's mean; losses and
    gradients are then summed, so that all of them take one and the same step.
    """
    counted = TokenCount()
    watching = Validator(scope)
    kind: Any = stepping(trainer, scope, arguments, counted)
    kind.passes, kind.validator = passes, watching  # TRL asks for the first as it makes the object
    made = kind(
        model=model,
        args=arguments,
        train_dataset=_dataset(rows(scope.rows)),
        eval_dataset=_dataset(rows(scope.held_out)) if scope.held_out else None,
        processing_class=scope.tokenizer,
        data_collator=collate,
        callbacks=[follower(scope, counted, passes, watching)],
    )
    watching.watch(made)
    return made


def stepping(trainer: type, scope: Scope, arguments: Any, counted: TokenCount) -> type:
    """Return this class of trainers with our steps, whose tokens it counts."""

    class Stepping(_base(trainer, scope, arguments)):  # type: ignore[misc]
        """The trainer with our steps."""

        passes: Passes
        validator: Validator
        step: StepRows

        def _get_train_sampler(self, train_dataset: Any = None) -> ShuffledSampler:
            return ShuffledSampler(len(scope.rows), seed=scope.config.training.seed)

        def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
            """Weigh a step by its rows, as no label is on the GPU yet."""
            import torch

            batches = list(islice(epoch_iterator, num_batches))
            weight = sum(self.passes.form.weight(batch["rows"].rows) for batch in batches)
            return batches, torch.full((), max(1, weight), device=device)

        def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
            self.ranks.seed(scope.config.training.seed, self.state.global_step)
            self.begin(inputs["rows"])
            loss = self.passes.run(
                self.own,
                ranks=self.ranks,
                forward_and_back=lambda part: super(Stepping, self).training_step(
                    model, part, num_items_in_batch
                ),
                forget=lambda: self._forget(model),
            )
            counted.tokens += sum(map(self.passes.form.tokens, self.step.rows))
            return self.summed(loss)

        @property
        def own(self) -> list[StepRow]:
            """The rows of the step that this process computes."""
            return own_rows(self.step.rows, self.passes.form, self.ranks)

        def begin(self, rows: StepRows) -> None:
            """Know the rows of a step, and do what an objective does with all of them first."""
            self.step = rows
            if begin_step := getattr(self, "begin_step", None):
                begin_step()

        def _forget(self, model: Any) -> None:
            model.zero_grad(set_to_none=True)
            if self.masters:
                self.masters.forget()

        def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
            return on_device(inputs, self.args.device)

    return Stepping


def _base(trainer: type, scope: Scope, arguments: Any) -> type:
    """Return the trainer as one of several processes, with masters where the weights that learn are of 16 bits."""
    import torch

    ends = ending(numbers_only(trainer, scope.checkpoints))
    in_16_bits = arguments.bf16 and scope.config.method != "Full"
    return ranked(led(ends, torch.bfloat16) if in_16_bits else ends, scope.ranks)


def ending(trainer: type) -> type:
    """Return a class of trainers that do no step where the training is over as it begins.

    Transformers looks after a step only: an attempt that resumes at the last step, within an epoch, would do another.
    """

    class Ending(trainer):  # type: ignore[misc]
        """The trainer, which looks before."""

        def _run_epoch(self, **arguments: Any) -> None:
            if not self.control.should_training_stop:
                super()._run_epoch(**arguments)

    return Ending


def _dataset(rows: Iterable[StepRow]) -> Any:
    from datasets import Dataset

    return Dataset.from_list(list(rows))

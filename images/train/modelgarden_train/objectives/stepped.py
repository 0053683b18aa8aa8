"""Trainers of TRL that take the rows of a whole step at once, in our order, in passes that fit the memory."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from modelgarden_train.objectives.follow import follower
from modelgarden_train.objectives.masters import Masters, led
from modelgarden_train.objectives.order import ShuffledSampler
from modelgarden_train.objectives.passes import Passes, StepRow, StepRows, collate, on_device
from modelgarden_train.objectives.scope import Scope, TokenCount


def stepped(
    trainer: type, scope: Scope, model: Any, *, passes: Passes, arguments: Any, rows: Iterable[StepRow]
) -> Any:
    """Return a trainer of this class; its `passes` know the plan as it is later, and its `step` the rows of a step."""
    import torch
    from datasets import Dataset

    counted = TokenCount()
    form = passes.form
    in_16_bits = arguments.bf16 and scope.config.method != "Full"
    steps = passes

    class Stepped(led(trainer, torch.bfloat16) if in_16_bits else trainer):  # type: ignore[misc]
        """The trainer with our steps."""

        passes = steps
        masters: Masters | None = None
        step: StepRows

        def _get_train_sampler(self, train_dataset: Any = None) -> ShuffledSampler:
            return ShuffledSampler(len(scope.rows), seed=scope.config.training.seed)

        def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
            """Weigh a step by its rows, as no label is on the GPU yet."""
            batches = list(islice(epoch_iterator, num_batches))
            weight = sum(form.weight(batch["rows"].rows) for batch in batches)
            return batches, torch.full((), max(1, weight), device=device)

        def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
            self.step = inputs["rows"]
            if begin := getattr(
                self, "begin_step", None
            ):  # what an objective does with all rows of a step first
                begin()
            loss = steps.run(
                self.step.rows,
                forward_and_back=lambda part: super(Stepped, self).training_step(
                    model, part, num_items_in_batch
                ),
                forget=lambda: self._forget(model),
            )
            counted.tokens += sum(map(form.tokens, self.step.rows))
            return loss

        def _forget(self, model: Any) -> None:
            model.zero_grad(set_to_none=True)
            if self.masters:
                self.masters.forget()

        def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
            return on_device(inputs, self.args.device)

    return Stepped(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(list(rows)),
        processing_class=scope.tokenizer,
        data_collator=collate,
        callbacks=[follower(scope, counted, steps)],
    )

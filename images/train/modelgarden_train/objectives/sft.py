"""Supervised fine-tuning: TRL's SFTTrainer with the loss on the assistant's answers, on rows in our order and passes."""

from __future__ import annotations

from itertools import islice
from typing import Any

from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.objectives.arguments import training_arguments
from modelgarden_train.objectives.follow import follower
from modelgarden_train.objectives.masters import Masters, led
from modelgarden_train.objectives.memory import StepPlan
from modelgarden_train.objectives.order import ShuffledSampler
from modelgarden_train.objectives.packing import why_padded
from modelgarden_train.objectives.passes import (
    IGNORED_LABEL,
    LabelledRow,
    Passes,
    StepRows,
    collate,
    on_device,
)
from modelgarden_train.objectives.scope import Scope, TokenCount


def labelled(row: PreparedRow) -> LabelledRow:
    """Return token ids and labels; the loss ignores the labels of what is not learned."""
    labels = [IGNORED_LABEL] * row.tokens
    for start, end in row.spans:
        labels[start:end] = row.input_ids[start:end]
    return {"input_ids": row.input_ids, "labels": labels}


def sft_trainer(scope: Scope, model: Any, plan: StepPlan) -> Any:
    """Return the trainer of a model; its `passes` know the plan as it is later."""
    import torch
    from datasets import Dataset
    from trl import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    counted = TokenCount()
    arguments = training_arguments(scope, plan)
    steps = Passes(
        plan,
        why_padded=why_padded(model.config.to_dict(), arguments, packing=scope.config.training.packing),
        pad_token=scope.tokenizer.pad_token_id,
    )

    in_16_bits = arguments["bf16"] and scope.config.method != "Full"

    class Trainer(led(SFTTrainer, torch.bfloat16) if in_16_bits else SFTTrainer):  # type: ignore[misc]
        """TRL's trainer with our order of the rows, a whole step of them at a time, in passes that fit the memory."""

        passes = steps
        masters: Masters | None = None

        def _get_train_sampler(self, train_dataset: Any = None) -> ShuffledSampler:
            return ShuffledSampler(len(scope.rows), seed=scope.config.training.seed)

        def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
            """Count what is learned in a step from the rows, as no label is on the GPU yet."""
            batches = list(islice(epoch_iterator, num_batches))
            learned = sum(batch["rows"].learned for batch in batches)
            return batches, torch.full((), max(1, learned), device=device)

        def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
            step: StepRows = inputs["rows"]
            loss = steps.run(
                step.rows,
                forward_and_back=lambda part: super(Trainer, self).training_step(
                    model, part, num_items_in_batch
                ),
                forget=lambda: self._forget(model),
            )
            counted.tokens += step.tokens
            return loss

        def _forget(self, model: Any) -> None:
            model.zero_grad(set_to_none=True)
            if self.masters:
                self.masters.forget()

        def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
            return on_device(inputs, self.args.device)

    return Trainer(
        model=model,
        args=SFTConfig(
            **arguments,
            # Rows come with token ids and labels and none is too long: nothing is left to prepare.
            dataset_kwargs={"skip_prepare_dataset": True},
            max_length=None,
            packing=False,
        ),
        train_dataset=Dataset.from_list([labelled(row) for row in scope.rows]),
        processing_class=scope.tokenizer,
        data_collator=collate,
        callbacks=[follower(scope, counted, steps)],
    )

"""Supervised fine-tuning: TRL's SFTTrainer with completion-only loss, on rows in our order."""

from __future__ import annotations

from typing import Any

from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.objectives.arguments import training_arguments
from modelgarden_train.objectives.follow import follower
from modelgarden_train.objectives.memory import StepPlan
from modelgarden_train.objectives.order import LengthGroupedSampler
from modelgarden_train.objectives.scope import Scope, TokenCount

IGNORED_LABEL = -100


def labelled(row: PreparedRow) -> dict[str, list[int]]:
    """Return token ids and labels; the loss ignores the labels of what is not learned."""
    labels = [IGNORED_LABEL] * row.tokens
    for start, end in row.spans:
        labels[start:end] = row.input_ids[start:end]
    return {"input_ids": row.input_ids, "labels": labels}


def sft_trainer(scope: Scope, model: Any, plan: StepPlan) -> Any:
    """Return the trainer of a model."""
    from datasets import Dataset
    from trl import SFTConfig
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling, SFTTrainer

    pad = DataCollatorForLanguageModeling(pad_token_id=scope.tokenizer.pad_token_id)
    counted = TokenCount()

    def collate(rows: list[dict[str, list[int]]]) -> Any:
        counted.tokens += sum(len(row["input_ids"]) for row in rows)
        return pad(rows)

    rows = [labelled(row) for row in scope.rows]
    sampler = LengthGroupedSampler(
        [len(row["input_ids"]) for row in rows],
        batch=plan.effective_batch,
        seed=scope.config.training.seed,
    )

    class Trainer(SFTTrainer):  # type: ignore[misc]
        """TRL's trainer with our order of the rows."""

        def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
            return sampler

    return Trainer(
        model=model,
        args=SFTConfig(
            **training_arguments(scope, plan),
            # Rows come with token ids and labels and none is too long: nothing is left to prepare.
            dataset_kwargs={"skip_prepare_dataset": True},
            max_length=None,
            packing=False,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=scope.tokenizer,
        data_collator=collate,
        callbacks=[follower(scope, counted)],
    )

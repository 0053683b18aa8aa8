"""Supervised fine-tuning: TRL's SFTTrainer with the loss on the assistant's answers."""

from __future__ import annotations

from typing import Any

from modelgarden_train.objectives.arguments import training_arguments
from modelgarden_train.objectives.labelled import Labelled, labelled, seen
from modelgarden_train.objectives.memory import StepPlan
from modelgarden_train.objectives.packing import why_padded
from modelgarden_train.objectives.passes import Passes
from modelgarden_train.objectives.scope import Scope
from modelgarden_train.objectives.stepped import stepped


def sft_trainer(scope: Scope, model: Any, plan: StepPlan) -> Any:
    """Return the trainer of a model; its `passes` know the plan as it is later."""
    from trl import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    arguments = training_arguments(scope, plan)
    why = why_padded(model.config.to_dict(), arguments, packing=scope.config.training.packing)
    form = Labelled(why, scope.tokenizer.pad_token_id, scope.sight)
    return stepped(
        SFTTrainer,
        scope,
        model,
        passes=Passes(plan, form),
        arguments=SFTConfig(
            **arguments,
            # Rows come with token ids and labels and none is too long: nothing is left to prepare.
            dataset_kwargs={"skip_prepare_dataset": True},
            max_length=None,
            packing=False,
            # TRL would take images away, which it knows by other names.
            remove_unused_columns=scope.sight is None,
        ),
        rows=lambda rows: map(seen if scope.sight else labelled, rows),
    )

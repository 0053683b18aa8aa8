"""Which trainer an objective takes."""

from __future__ import annotations

from typing import Final

from modelgarden.api.finetunejob import ObjectiveType
from modelgarden_train.objectives.dpo import dpo_trainer
from modelgarden_train.objectives.fitting import MakeTrainer
from modelgarden_train.objectives.grpo import grpo_trainer
from modelgarden_train.objectives.kto import kto_trainer
from modelgarden_train.objectives.orpo import orpo_trainer
from modelgarden_train.objectives.sft import sft_trainer

_TRAINERS: Final[dict[ObjectiveType, MakeTrainer]] = {
    "SFT": sft_trainer,
    "DPO": dpo_trainer,
    "ORPO": orpo_trainer,
    "KTO": kto_trainer,
    "GRPO": grpo_trainer,
}


def trainer_of(objective: ObjectiveType) -> MakeTrainer:
    """Return what makes the trainer of a model."""
    return _TRAINERS[objective]

"""Direct preference optimization: TRL's DPOTrainer, whose reference is the base model."""

from __future__ import annotations

from typing import Any, Final

from modelgarden.api.finetunejob import Dpo, DpoLoss
from modelgarden_train.objectives.arguments import training_arguments
from modelgarden_train.objectives.memory import StepPlan
from modelgarden_train.objectives.pairs import Pairs, chosen_tokens, pair
from modelgarden_train.objectives.passes import Passes
from modelgarden_train.objectives.reference import against_the_base_model
from modelgarden_train.objectives.scope import Scope
from modelgarden_train.objectives.stepped import stepped

LOSSES: Final[dict[DpoLoss, str]] = {
    "Sigmoid": "sigmoid",
    "Hinge": "hinge",
    "IPO": "ipo",
    "Robust": "robust",
    "SigmoidNorm": "sigmoid_norm",
    "APOZero": "apo_zero",
    "APODown": "apo_down",
}
"""TRL's names."""


def dpo_trainer(scope: Scope, model: Any, plan: StepPlan) -> Any:
    """Return the trainer of a model; its `passes` know the plan as it is later."""
    from trl import DPOConfig

    settings = scope.config.objective.dpo or Dpo()
    losses, weights = [LOSSES[settings.loss_type]], [1.0]
    if settings.sft_weight:
        losses.append("sft")
        weights.append(settings.sft_weight)
    return stepped(
        _trainer(settings),
        scope,
        model,
        passes=Passes(plan, Pairs(scope.tokenizer.pad_token_id)),
        arguments=DPOConfig(
            **training_arguments(scope, plan),
            beta=settings.beta,
            loss_type=losses,
            loss_weights=weights,
            label_smoothing=settings.label_smoothing,
            max_length=None,
            disable_dropout=scope.config.training.lora.dropout == 0,
            precompute_ref_log_probs=scope.config.method == "Full",
        ),
        rows=lambda rows: map(pair, rows),
    )


def _trainer(settings: Dpo) -> type:
    from trl.trainer.dpo_trainer import DPOTrainer

    class Preferring(against_the_base_model(DPOTrainer, ("ref_chosen_logps", "ref_rejected_logps"))):  # type: ignore[misc]
        """TRL's trainer with the mean over a step that may take several passes."""

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            """Return a pass's part of the step's mean: of the pairs, and of the chosen answers' tokens."""
            share = inputs["input_ids"].shape[0] / (2 * len(self.step.rows))
            if settings.sft_weight:
                chosen, _ = inputs["completion_mask"][:, 1:].chunk(2)
                self.loss_weights[1] = (
                    settings.sft_weight * chosen.sum() / (chosen_tokens(self.step.rows) * share)
                )
            return super().compute_loss(model, inputs) * share

    return Preferring

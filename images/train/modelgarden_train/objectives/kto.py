"""Kahneman-Tversky optimization: TRL's KTOTrainer, whose reference is the base model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from modelgarden.api.finetunejob import Kto, KtoLoss
from modelgarden_train.objectives.arguments import training_arguments
from modelgarden_train.objectives.judged import Judged, judged
from modelgarden_train.objectives.memory import StepPlan
from modelgarden_train.objectives.passes import Passes
from modelgarden_train.objectives.reference import against_the_base_model, in_16_bits
from modelgarden_train.objectives.scope import Scope
from modelgarden_train.objectives.stepped import stepped

LOSSES: Final[dict[KtoLoss, str]] = {"KTO": "kto", "APOZero": "apo_zero_unpaired"}
"""TRL's names."""


def kto_trainer(scope: Scope, model: Any, plan: StepPlan) -> Any:
    """Return the trainer of a model; its `passes` know the plan as it is later."""
    from trl import KTOConfig

    settings = scope.config.objective.kto or Kto()
    return stepped(
        _trainer(),
        scope,
        model,
        passes=Passes(plan, Judged(scope.tokenizer.pad_token_id)),
        arguments=KTOConfig(
            **training_arguments(scope, plan),
            beta=settings.beta,
            loss_type=LOSSES[settings.loss_type],
            desirable_weight=settings.desirable_weight,
            undesirable_weight=settings.undesirable_weight,
            max_length=None,
            disable_dropout=scope.config.training.lora.dropout == 0,
            precompute_ref_log_probs=scope.config.method == "Full",
        ),
        rows=judged,
    )


def _trainer() -> type:
    import torch
    from trl.trainer.kto_trainer import KTOTrainer

    class Judging(against_the_base_model(KTOTrainer, ("ref_logps", "ref_KL_logps"))):  # type: ignore[misc]
        """TRL's trainer with mean and distance to the base model over a step that may take several passes."""

        distance: Any = None
        """Mean log-ratio of the step's answers to other prompts: before it is cut at zero, the paper's z."""
        _asked: Iterator[Any]

        def begin_step(self) -> None:
            """Measure how far the model is from the base model, on all rows of the step."""
            if not self.calculate_KL:
                return
            with self.ranks.alike(at="distance"):
                sums = [self._log_ratios(inputs).sum() for inputs in self.batches(self.own)]
            total = torch.stack(sums).sum() if sums else torch.zeros((), device=self.args.device)
            self.ranks.add(total)
            self.distance = total / len(self.step.rows)

        def _log_ratios(self, inputs: dict[str, Any]) -> Any:
            with torch.no_grad(), in_16_bits(self.args.device):
                ours = super()._compute_kl_logps(self.model, inputs)
                if "ref_KL_logps" in inputs:
                    return ours - inputs["ref_KL_logps"]
                with self.model.disable_adapter():
                    return ours - super()._compute_kl_logps(self.model, inputs)

        def _compute_kl_logps(self, model: Any, batch: Any) -> Any:
            """Return what was measured of the step: TRL asks for the model's mean first, then for the reference's."""
            return next(self._asked) if self.calculate_KL else None

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            """Return a pass's part of the step's mean."""
            if self.calculate_KL:
                self._asked = iter((self.distance, torch.zeros_like(self.distance)))
                inputs = {**inputs, "ref_KL_logps": torch.zeros_like(self.distance)}
            return super().compute_loss(model, inputs) * (len(inputs["label"]) / len(self.step.rows))

    return Judging

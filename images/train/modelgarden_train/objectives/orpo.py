"""Odds ratio preference optimization: the chosen answers' own loss, and TRL's odds ratio loss of both answers.

TRL's ORPOTrainer makes all logits of both answers at once and tokenizes anew; its DPOTrainer's pass forward makes
log-likelihoods alone, and this takes it from there.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from modelgarden.api.finetunejob import Orpo
from modelgarden_train.objectives.arguments import training_arguments
from modelgarden_train.objectives.memory import StepPlan
from modelgarden_train.objectives.pairs import Pairs, chosen_tokens, pair
from modelgarden_train.objectives.passes import Passes
from modelgarden_train.objectives.reference import against_the_base_model, log_likelihoods
from modelgarden_train.objectives.scope import Scope
from modelgarden_train.objectives.stepped import stepped


def orpo_trainer(scope: Scope, model: Any, plan: StepPlan) -> Any:
    """Return the trainer of a model; its `passes` know the plan as it is later."""
    from trl import DPOConfig

    settings = scope.config.objective.orpo or Orpo()
    return stepped(
        _trainer(),
        scope,
        model,
        passes=Passes(plan, Pairs(scope.tokenizer.pad_token_id)),
        arguments=DPOConfig(
            **training_arguments(scope, plan),
            beta=settings.beta,
            max_length=None,
            disable_dropout=scope.config.training.lora.dropout == 0,
            precompute_ref_log_probs=True,  # there is no reference: else one would be kept in memory
        ),
        rows=lambda rows: map(pair, rows),
    )


def _trainer() -> type:
    from trl.experimental.orpo import ORPOTrainer
    from trl.trainer.dpo_trainer import DPOTrainer

    class Odds(against_the_base_model(DPOTrainer, ("", ""))):  # type: ignore[misc]
        """TRL's trainer with the loss of the paper's equation 6, over a step that may take several passes."""

        def _precompute_ref_logps(self, dataset: Any, *_: Any) -> Any:
            return dataset

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            """Return a pass's part of the step's mean: of the pairs, and of the chosen answers' tokens."""
            sums = log_likelihoods(model, inputs).sum(dim=1)
            chosen, rejected = (sums / inputs["completion_mask"][:, 1:].sum(dim=1)).chunk(2)
            judge = SimpleNamespace(beta=self.beta, accelerator=self.accelerator)
            weighed, better, worse, *_ = ORPOTrainer.odds_ratio_loss(judge, chosen, rejected)
            self._note(better, worse)
            answers = -sums.chunk(2)[0].sum() / chosen_tokens(self.step.rows)
            return answers - weighed.sum() / len(self.step.rows)

        def _note(self, better: Any, worse: Any) -> None:
            """Keep what the log tells of a pass, under TRL's names."""
            told = self._metrics["train"]
            told["rewards/margins"].append((better - worse).mean().item())
            told["rewards/accuracies"].append((better > worse).float().mean().item())

    return Odds

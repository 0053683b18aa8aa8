"""Group relative policy optimization: the model completes the prompts of a step, and of each prompt's completions those
that earn more become likelier.

TRL's GRPOTrainer brings its own batches, generation and accumulation; the passes forward here are those of its
DPOTrainer, and a step is one update on completions of the very model that is updated, so that its clipped ratio is 1.
"""

from __future__ import annotations

from typing import Any

from modelgarden.api.finetunejob import Grpo
from modelgarden_train.objectives.arguments import training_arguments
from modelgarden_train.objectives.group import Grouped, asked
from modelgarden_train.objectives.memory import StepPlan
from modelgarden_train.objectives.passes import Passes, StepRows
from modelgarden_train.objectives.reference import against_the_base_model, log_likelihoods
from modelgarden_train.objectives.rollout import Rollouts
from modelgarden_train.objectives.scope import Scope
from modelgarden_train.objectives.stepped import stepped


def grpo_trainer(scope: Scope, model: Any, plan: StepPlan) -> Any:
    """Return the trainer of a model; its `passes` know the plan as it is later.

    Raises:
        ValueError: the scope has no rewards.
    """
    from trl import DPOConfig

    settings = scope.config.objective.grpo
    if settings is None or scope.scorer is None:
        raise ValueError("objective GRPO needs rewards")
    return stepped(
        _trainer(settings, Rollouts(scope, settings, scope.scorer)),
        scope,
        model,
        passes=Passes(plan, Grouped(scope.tokenizer.pad_token_id)),
        arguments=DPOConfig(
            **training_arguments(scope, plan),
            beta=settings.beta,
            max_length=None,
            remove_unused_columns=False,  # completions are judged by them
            disable_dropout=scope.config.training.lora.dropout == 0,
            precompute_ref_log_probs=True,  # the reference is the model without its adapters: no other is kept
        ),
        rows=lambda rows: map(asked, rows),
    )


def _trainer(settings: Grpo, rollouts: Rollouts) -> type:
    import torch
    from trl.trainer.dpo_trainer import DPOTrainer
    from trl.trainer.utils import add_fused_lm_head

    class Rewarded(against_the_base_model(DPOTrainer, ("", ""))):  # type: ignore[misc]
        """TRL's trainer with the loss of completions, over a step that may take several passes."""

        step: StepRows

        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments)
            # The likelihoods are those that the completions were drawn by.
            inner = self.model.get_base_model() if hasattr(self.model, "peft_config") else self.model
            add_fused_lm_head(inner, temperature=settings.temperature)

        def _precompute_ref_logps(self, dataset: Any, *_: Any) -> Any:
            return dataset

        def begin_step(self) -> None:
            """Put completions of the model's own in the place of the step's prompts."""
            rolled = rollouts.of(self.model, self.step.rows, step=self.state.global_step)
            self.step = StepRows(rolled.rows)
            if rolled.reward is not None:
                self._metrics["train"]["reward"].append(rolled.reward)

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            """Return a pass's part of the step's loss."""
            learned = inputs["completion_mask"][:, 1:]
            found = log_likelihoods(model, inputs).float()
            ratio = (found - found.detach()).exp()
            losses = -inputs["advantages"][:, None] * ratio
            if settings.beta:
                with torch.no_grad(), model.disable_adapter():
                    reference = log_likelihoods(model, inputs).float()
                distance = reference - found
                losses = losses + settings.beta * (distance.exp() - distance - 1)
            return (losses * learned).sum(dim=1) @ inputs["scales"]

    return Rewarded

"""Trains with the largest step that fits: checkpoints, and less memory when CUDA runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from modelgarden_pod.errors import UserError
from modelgarden_train.models.loading import parameter_counts, release_memory
from modelgarden_train.objectives.checkpoint import Checkpoint
from modelgarden_train.objectives.memory import StepPlan, out_of_memory
from modelgarden_train.objectives.numbers import saved_loss
from modelgarden_train.objectives.scope import Scope

logger = logging.getLogger(__name__)

MakeTrainer = Callable[[Scope, Any, StepPlan], Any]
"""Makes the trainer of a model, whose `passes` split its steps."""


def train_within_memory(
    scope: Scope,
    make_trainer: MakeTrainer,
    load: Callable[[StepPlan], Any],
    *,
    plan: StepPlan,
    resume: Checkpoint | None,
) -> Any:
    """Train with the plan, and with smaller ones while CUDA runs out of memory; return the model.

    `load(plan)` gives a fresh model each time: nothing of a failed try is kept but its newest checkpoint.

    Raises:
        UserError: OutOfMemory, no smaller plan is left; or the loss is no number any more.
        PeerLost: another process has ended, or has memory left where this one has none.
    """
    from torch import OutOfMemoryError

    while True:
        model = load(plan)
        trainer = make_trainer(scope, model, plan)
        try:
            _fit(trainer, resume=resume)
        except OutOfMemoryError:
            pass  # left first: the exception keeps every tensor of the failed step alive
        else:
            return model
        plan = trainer.passes.plan
        smaller = plan.smaller(plan.budget)
        if smaller is None:
            raise _does_not_fit(scope, model, plan=plan)
        scope.ranks.least(
            0, at="a smaller plan"
        )  # the first process may still have written the newest checkpoint
        logger.warning("Out of GPU memory, trying a smaller plan", extra={"plan": str(smaller)})
        del model, trainer
        release_memory()
        plan, resume = smaller, scope.watcher.newest or resume


def _fit(trainer: Any, *, resume: Checkpoint | None) -> None:
    """Train to the last step, or to the one at which the training is to stop, and have it checkpointed."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    trainer.validator.resume(resume.path if resume else None)
    trainer.resumed = saved_loss(resume) if resume else None
    trainer.train(resume_from_checkpoint=str(resume.path) if resume else None)
    trainer.validator.finish()


def _does_not_fit(scope: Scope, model: Any, *, plan: StepPlan) -> UserError:
    """Return the failure of a plan that has no smaller one."""
    import torch

    parameters, trainable = parameter_counts(model)
    return out_of_memory(
        plan,
        config=scope.config,
        parameters=parameters,
        trainable=trainable,
        total_bytes=torch.cuda.get_device_properties(0).total_memory,
        used_bytes=torch.cuda.max_memory_reserved(),
    )

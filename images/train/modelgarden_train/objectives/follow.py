"""Follows a training: tells how far it is, hands over its checkpoints, and ends it at a step where it is to stop."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

from modelgarden_train.models.loading import peak_gpu_memory_mib
from modelgarden_train.objectives.checkpoint import Checkpoint
from modelgarden_train.objectives.hyperparameters import hyperparameters
from modelgarden_train.objectives.memory import StepPlan
from modelgarden_train.objectives.passes import Passes
from modelgarden_train.objectives.scope import Scope, TokenCount
from modelgarden_train.objectives.validator import Validator


def follower(scope: Scope, counted: TokenCount, passes: Passes, validator: Validator) -> Any:
    """Return the callback that a trainer of Transformers takes."""
    from transformers import TrainerCallback

    told = _Hyperparameters(scope, passes)

    class Follow(TrainerCallback):  # type: ignore[misc]
        """Shows progress, has steps validated and checkpoints uploaded, and stops at a step where SIGTERM has come."""

        def __init__(self) -> None:
            self.loss: float | None = None

        def on_train_begin(
            self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
        ) -> None:
            told.tell(args, steps=state.max_steps, model=model)
            validator.begin(step=state.global_step, steps=state.max_steps)
            control.should_training_stop = validator.over or state.global_step >= state.max_steps

        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            told.tell(args, steps=state.max_steps, model=model)
            if not scope.stopping(at="step"):
                validator.validate(step=state.global_step, steps=state.max_steps)
            ended = validator.over or state.global_step >= state.max_steps
            control.should_save |= ended
            control.should_training_stop |= ended
            if scope.stopping(at="stop"):
                control.should_save = control.should_training_stop = True
            scope.watcher.step(
                state.global_step,
                total=state.global_step if ended else state.max_steps,
                epoch=state.epoch or 0.0,
                tokens=counted.tokens,
                loss=self.loss,
            )

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            logs = logs or {}
            loss = logs.get("loss")
            if loss is None:
                return
            self.loss = float(loss)
            scope.watcher.logged(
                state.global_step,
                loss=self.loss,
                learning_rate=_number(logs.get("learning_rate")),
                gradient_norm=_number(logs.get("grad_norm")),
                reward=_number(logs.get("reward")),
                reward_margin=_number(logs.get("rewards/margins")),
            )
            scope.watcher.gpu_memory(_peak_memory_mib(scope))

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            path = scope.checkpoints / f"checkpoint-{state.global_step}"
            if scope.ranks.first:
                _lay_beside(path, scope, validator)
            scope.watcher.saved(Checkpoint(step=state.global_step, path=path))

    return Follow()


def _lay_beside(checkpoint: Path, scope: Scope, validator: Validator) -> None:
    """Put into a checkpoint's folder what else the next attempt goes on from."""
    if scope.base_scores.exists():
        shutil.copy(scope.base_scores, checkpoint / scope.base_scores.name)
    validator.save(checkpoint)


def _peak_memory_mib(scope: Scope) -> int | None:
    """Return the peak of the GPU's memory, of several GPUs that of the fullest."""
    peak = peak_gpu_memory_mib()
    return None if peak is None else -scope.ranks.least(-peak, at="memory")


def _number(value: Any) -> float | None:
    """Return a finite number, None for what is none."""
    return float(value) if value is not None and math.isfinite(value) else None


class _Hyperparameters:
    """Tells with which hyperparameters the training goes on, again where the memory had them changed."""

    def __init__(self, scope: Scope, passes: Passes) -> None:
        self._scope = scope
        self._passes = passes
        self._told: StepPlan | None = None

    def tell(self, arguments: Any, *, steps: int, model: Any) -> None:
        if self._told == self._passes.plan:
            return
        self._told = self._passes.plan
        self._scope.watcher.resolved(
            hyperparameters(self._scope, arguments=arguments, passes=self._passes, steps=steps, model=model)
        )

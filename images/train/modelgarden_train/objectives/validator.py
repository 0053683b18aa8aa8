"""Watches a training on the held-out rows: tells their loss, keeps the best weights, and says when to stop."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any, Final

from modelgarden.api.artifact import ValidationRecord
from modelgarden.api.documents import TRAIN_IMAGE, DocumentError
from modelgarden.api.layout import CHECKPOINT_VALIDATION
from modelgarden_pod.errors import Terminated, UserError
from modelgarden_train.objectives.best import BestWeights
from modelgarden_train.objectives.held_out import held_out_loss
from modelgarden_train.objectives.patience import is_due, is_over, seen, status_of
from modelgarden_train.objectives.ranked import trained
from modelgarden_train.objectives.scope import Scope

logger = logging.getLogger(__name__)

_BEST: Final = "best"
"""Folder beside the checkpoints on this machine."""


class Validator:
    """Of one trainer. What it knows goes with every checkpoint, so that an attempt that resumes stops where one would
    that was never interrupted.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._training = scope.config.training
        self._known: ValidationRecord | None = None
        keeps = self._training.early_stopping is not None and scope.ranks.first
        self._best = BestWeights(scope.checkpoints / _BEST) if keeps else None
        self._trainer: Any = None

    def watch(self, trainer: Any) -> None:
        """Know the trainer, once it is made."""
        self._trainer = trainer

    @property
    def over(self) -> bool:
        """Whether the training has waited long enough for an improvement."""
        return is_over(self._training.early_stopping, self._known)

    def resume(self, checkpoint: Path | None) -> None:
        """Go on from what a checkpoint holds; without one, begin."""
        self._known = _read(checkpoint / CHECKPOINT_VALIDATION) if checkpoint is not None else None
        if self._best is None:
            return
        if checkpoint is not None and self._known is not None:
            self._best.restore(checkpoint)
        else:
            self._best.forget()

    def begin(self, *, step: int, steps: int) -> None:
        """Validate the model that is not trained yet, or the step that an attempt ended at before it could.

        Raises:
            Terminated: SIGTERM came meanwhile; the step is done and saved.
        """
        if self._known is not None:
            self._tell(steps)
        if step == 0 and self._training.validation is not None:
            self._loss(0)
        else:
            self.validate(step=step, steps=steps)
        if self._scope.stopping(at="validated"):
            raise Terminated("stopped by SIGTERM before another step")

    def validate(self, *, step: int, steps: int) -> None:
        """Validate a step if it is due, unless the training is to stop at it: then the next attempt does.

        Raises:
            UserError: Diverged, the step's numbers or the loss are none.
        """
        if not is_due(self._training, self._known, step=step, steps=steps):
            return
        self._trainer.require_numbers()
        loss = self._loss(step)
        if loss is None:
            return
        early = self._training.early_stopping
        self._known = seen(self._known, step=step, loss=loss, min_delta=early.min_delta if early else 0.0)
        if self._best is not None and self._known.best_step == step:
            self._best.keep(self._trainer)
        self._tell(steps)

    def save(self, checkpoint: Path) -> None:
        """Lay what is known, and the best weights, into a checkpoint's folder."""
        if self._known is None:
            return
        (checkpoint / CHECKPOINT_VALIDATION).write_text(self._known.model_dump_json(by_alias=True))
        if self._best is not None:
            self._best.lay_beside(checkpoint)

    def finish(self) -> None:
        """Give the model its best weights, once it is trained."""
        if self._training.early_stopping is None or self._scope.stopping(at="best"):
            return
        if self._best is not None:
            self._best.give(self._trainer.model)
        self._scope.ranks.spread(weight.data for weight in trained(self._trainer.model))

    def _loss(self, step: int) -> float | None:
        watcher = self._scope.watcher
        watcher.validating()
        loss = held_out_loss(self._trainer, stopping=lambda: self._scope.stopping(at="validating"))
        if loss is None:
            return None
        if not math.isfinite(loss):
            raise UserError(
                "Diverged",
                f"the validation loss became {loss} at step {step}; try a lower training.learningRate",
            )
        watcher.validated(step, loss=loss)
        return loss

    def _tell(self, steps: int) -> None:
        if self._known is not None:
            self._scope.watcher.best(status_of(self._training, self._known, steps=steps))


def _read(file: Path) -> ValidationRecord | None:
    """Return what a checkpoint knows; None of one of before validations, or where it cannot be read."""
    if not file.is_file():
        return None
    try:
        return ValidationRecord.read(file.read_bytes(), reader=TRAIN_IMAGE)
    except DocumentError as error:
        logger.warning("The validations begin anew", extra={"error": str(error)})
        return None

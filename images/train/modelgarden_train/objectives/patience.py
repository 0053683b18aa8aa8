"""What a training has seen of its validation loss: which step was the best, and whether to go on. Pure."""

from __future__ import annotations

from modelgarden.api.artifact import ValidationRecord
from modelgarden.api.finetunejob import EarlyStopping, Training, ValidationStatus


def is_due(training: Training, known: ValidationRecord | None, *, step: int, steps: int) -> bool:
    """Tell whether a step of so many is to be validated and has not been."""
    if training.validation is None or (known is not None and known.step >= step):
        return False
    return step == steps or step % training.validation.every_steps == 0


def seen(
    known: ValidationRecord | None, *, step: int, loss: float, min_delta: float = 0.0
) -> ValidationRecord:
    """Return what is known after another validation.

    The best step is that with the lowest loss, however little lower it is; an improvement is more than `min_delta` lower.
    """
    if known is None:
        return ValidationRecord(step=step, loss=loss, best_step=step, best_loss=loss, without_improvement=0)
    best = (step, loss) if loss < known.best_loss else (known.best_step, known.best_loss)
    improved = loss < known.best_loss - min_delta
    return ValidationRecord(
        step=step,
        loss=loss,
        best_step=best[0],
        best_loss=best[1],
        without_improvement=0 if improved else known.without_improvement + 1,
    )


def is_over(early: EarlyStopping | None, known: ValidationRecord | None) -> bool:
    """Tell whether a training has waited long enough for an improvement."""
    return early is not None and known is not None and known.without_improvement >= early.patience


def status_of(training: Training, known: ValidationRecord, *, steps: int) -> ValidationStatus:
    """Return what the status tells of a training of so many steps; one that was at its last one did not stop early."""
    return ValidationStatus(
        step=known.step,
        loss=f"{known.loss:.6g}",
        best_step=known.best_step,
        best_loss=f"{known.best_loss:.6g}",
        stopped_early=known.step < steps and is_over(training.early_stopping, known),
    )

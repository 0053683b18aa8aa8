"""How a training is watched on the held-out rows, when it stops for what it sees there, and what it saw."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modelgarden.api.base import ApiModel, Decimal


class Validation(ApiModel):
    """Held-out rows are scored while the model is trained."""

    every_steps: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        description="Optimizer steps between two validations; the last step is validated too."
    )

    def times(self, steps: int) -> int:
        """Return how often a run of so many steps is validated: the untrained model is, and the last step."""
        return 1 + -(-steps // self.every_steps)


class EarlyStopping(ApiModel):
    """Ends a training whose validation loss falls no more, and exports the weights with the lowest one."""

    patience: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=3,
        description="Validations in a row without an improvement after which the training stops. Default: 3.",
    )
    min_delta: Annotated[float, Field(ge=0.0, le=100.0)] = Field(
        default=0.0,
        description="What the validation loss must fall below the lowest one by to be an improvement. Default: 0.",
    )


class ValidationStatus(ApiModel):
    """What the validations of a training have found."""

    step: int = Field(ge=1, description="Optimizer steps done at the newest validation.")
    loss: Decimal = Field(description="Validation loss there.")
    best_step: int = Field(
        ge=1,
        description="Step with the lowest validation loss; with training.earlyStopping its weights are exported.",
    )
    best_loss: Decimal = Field(description="Validation loss there.")
    stopped_early: bool = Field(
        default=False, description="Whether training.earlyStopping ended the training at step."
    )

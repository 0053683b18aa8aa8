"""`curve.json`: how a training went, step by step, for people who look later. It lies beside the manifest."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from modelgarden.api.base import ApiModel
from modelgarden.api.documents import Document

MOST_POINTS: Final = 500
"""Points of a curve: as many as a screen shows, in some 60 kB."""

Number = Annotated[float, Field(allow_inf_nan=False)]


class CurvePoint(ApiModel):
    """What was known after an optimizer step."""

    step: Annotated[int, Field(ge=0)]
    """Optimizer steps done since the start of the run; 0 is the base model."""
    loss: Number | None = None
    """Mean over the steps since the loss was last taken, in nats per learned token."""
    learning_rate: Number | None = None
    gradient_norm: Number | None = None
    """Before clipping; None where it is no number, as with a step that float16 skips."""
    reward: Number | None = None
    """Mean of what the completions were worth, over the steps since the loss was last taken (GRPO)."""
    reward_margin: Number | None = None
    """By how much the chosen answers' implicit reward exceeds the rejected ones', the mean over the same steps' passes
    (DPO, ORPO, KTO); of several processes the first one's.
    """
    tokens_per_second: Annotated[int, Field(ge=0)] | None = None
    """Trained on lately, padding left out; None at the start of an attempt."""
    validation_loss: Number | None = None
    """Of the held-out rows, where they were scored: the objective's own loss where training.validation is set, else the
    logarithm of the perplexity, in nats per token.
    """


class TrainingCurve(Document):
    """`curve.json` of a run and of a checkpoint: points by rising steps, over all attempts."""

    points: Annotated[tuple[CurvePoint, ...], Field(max_length=MOST_POINTS)]

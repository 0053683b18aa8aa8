"""What an evaluation found: a list of metrics, each with its direction and the scores of base and tuned model.

One form for the status, the manifest, `evaluation.json` and the termination message. A new metric is an entry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from modelgarden.api.base import ApiModel, Decimal

Direction = Literal["HigherIsBetter", "LowerIsBetter"]
Count = Annotated[int, Field(ge=0, le=9_007_199_254_740_991)]

METRIC_NAME_PATTERN: Final = r"^[a-z][A-Za-z0-9]*$"
PERPLEXITY: Final = "perplexity"
"""exp of the mean negative log-likelihood per completion token."""
EXACT_MATCH: Final = "exactMatch"
"""Share of answers equal to the reference."""
PREFERENCE_ACCURACY: Final = "preferenceAccuracy"
"""Share of pairs whose chosen answer is likelier than the rejected one."""
PREFERENCE_MARGIN: Final = "preferenceMargin"
"""Mean of the chosen answers' log-likelihoods less the rejected ones', in nats."""
REWARD: Final = "reward"
"""Mean of what the answers are worth by the rewards of GRPO."""
DIRECTIONS: Final[Mapping[str, Direction]] = {
    PERPLEXITY: "LowerIsBetter",
    EXACT_MATCH: "HigherIsBetter",
    PREFERENCE_ACCURACY: "HigherIsBetter",
    PREFERENCE_MARGIN: "HigherIsBetter",
    REWARD: "HigherIsBetter",
}
"""The metrics that the trainer computes."""


class Interval(ApiModel):
    """Where the value lies with 95 % confidence, the held-out rows being a sample."""

    low: Decimal = Field(description="Lower end.")
    high: Decimal = Field(description="Upper end.")


class Score(ApiModel):
    """One model's value of a metric."""

    value: Decimal = Field(description="The value.")
    numerator: Count | None = Field(default=None, description="Of a share: rows that count.")
    denominator: Count | None = Field(default=None, description="Of a share: rows in all.")
    interval: Interval | None = Field(
        default=None, description="95 % confidence interval, where the rows are enough to tell."
    )


class Metric(ApiModel):
    """One metric of both models."""

    name: Annotated[str, Field(pattern=METRIC_NAME_PATTERN, max_length=63)] = Field(
        description="perplexity: exp of the mean negative log-likelihood per completion token. "
        "exactMatch: share of answers equal to the reference. preferenceAccuracy: share of pairs whose chosen answer is "
        "likelier than the rejected one. preferenceMargin: mean of how much likelier it is, as the difference of their "
        "log-likelihoods in nats; what training added to it, times beta, is DPO's reward margin. reward: mean of "
        "what the answers are worth by the rewards of GRPO."
    )
    direction: Direction = Field(description="Whether a higher or a lower value is better.")
    base: Score = Field(description="The base model.")
    tuned: Score = Field(description="The tuned model.")

    @property
    def title(self) -> str:
        """Return the name in words: exactMatch is "exact match"."""
        return re.sub(r"([A-Z])", lambda letter: f" {letter[1].lower()}", self.name)


class FormerScores(ApiModel):
    """One model's scores in a status of before metrics were a list."""

    perplexity: Decimal = Field(description="Perplexity.")
    exact_match: Decimal = Field(description="Share of answers equal to the reference.")


class EvaluationStatus(ApiModel):
    """Base and tuned model on the held-out rows."""

    rows: int = Field(ge=0, description="Rows evaluated.")
    metrics: tuple[Metric, ...] = Field(
        default=(),
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="The metrics, each once.",
    )
    # Kept for the CRD alone: else the API server would take the scores out of every status that has ended long ago.
    base: FormerScores | None = Field(default=None, description="Of jobs before metrics: the base model.")
    tuned: FormerScores | None = Field(default=None, description="Of jobs before metrics: the tuned model.")

    @model_validator(mode="after")
    def _metrics_are_a_map(self) -> Self:
        if len({metric.name for metric in self.metrics}) != len(self.metrics):
            raise ValueError("metrics must not repeat a name")
        return self

    @property
    def summary(self) -> str:
        """Return the scores in one sentence's part, such as "perplexity 31.5 -> 1.9 on 20 rows"."""
        told = [f"{metric.title} {metric.base.value} -> {metric.tuned.value}" for metric in self.metrics]
        return f"{', '.join(told)} on {self.rows} rows"


def with_metrics(value: Mapping[str, Any], *, at: str) -> Mapping[str, Any]:
    """Return an object whose evaluation, at the name given, has metrics, also where it is of before they were a list."""
    evaluation = value.get(at)
    if not isinstance(evaluation, Mapping) or not {"base", "tuned"} & evaluation.keys():
        return value
    former = [evaluation.get(model) for model in ("base", "tuned")]
    rest = {name: item for name, item in evaluation.items() if name not in ("base", "tuned")}
    base, tuned = (scores if isinstance(scores, Mapping) else {} for scores in former)
    metrics = [
        {"name": name, "direction": direction, "base": {"value": base[name]}, "tuned": {"value": tuned[name]}}
        for name, direction in DIRECTIONS.items()
        if name in base and name in tuned
    ]
    # An API server with the list in its CRD adds an empty one to what it kept.
    return {**value, at: {**rest, "metrics": rest.get("metrics") or metrics}}

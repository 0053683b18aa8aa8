"""How a FineTuneJob evaluates base and tuned model."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modelgarden.api.base import ApiModel


class Evaluation(ApiModel):
    """Held-out perplexity and exact match of base and tuned model."""

    max_new_tokens: Annotated[int, Field(ge=1, le=8192)] = Field(
        default=256,
        description="Longest answer that is generated for a held-out row, in tokens. Default: 256.",
    )
    max_rows: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=1000, description="Most held-out rows that are evaluated, the first by digest. Default: 1000."
    )

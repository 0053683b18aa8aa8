"""More positions than the base model was trained with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelgarden.api.base import ApiModel

RopeScalingType = Literal["YaRN", "Linear"]


class RopeScaling(ApiModel):
    """Scales a model's rotary positions (RoPE), so that rows may be longer than it has positions for."""

    type: RopeScalingType = Field(
        default="YaRN",
        description="YaRN (https://arxiv.org/abs/2309.00071): near positions stay as they are, far ones move together; "
        "little training is needed. Linear (https://arxiv.org/abs/2306.15595): all move together. Default: YaRN.",
    )
    factor: Annotated[float, Field(ge=1.1, le=64.0)] = Field(
        description="How many times as many positions as the base model's max_position_embeddings."
    )

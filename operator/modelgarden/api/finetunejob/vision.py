"""What a FineTuneJob's rows may show the model beside text, and how images go into it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelgarden.api.base import ApiModel

Modality = Literal["Text", "Vision"]


class Vision(ApiModel):
    """How images go into the model."""

    max_pixels: Annotated[int, Field(ge=3_136, le=16_777_216)] = Field(
        default=1_003_520,
        description="Most pixels of an image; larger ones are made smaller, their sides in proportion, in training and, by "
        "the merged model's own settings, in serving. 784 pixels are about one token of Qwen2.5-VL. Default: 1003520, which "
        "is 1280 tokens.",
    )
    vision_layers: bool = Field(
        default=False,
        description="Whether the layers that see get adapters too, not those that speak alone. true needs formats without "
        "Adapter, as vLLM leaves such adapters out without an error: serve the merged model. Default: false.",
    )

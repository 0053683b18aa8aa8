"""The estimate in a FineTuneJob's status: what its training will take, told before a GPU is asked for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modelgarden.api.base import ApiModel, Decimal
from modelgarden.api.emissions import Joules
from modelgarden.api.finetunejob.needs import Bytes, Count, Needs


class Estimate(ApiModel):
    """What the training will take, as far as it is known: a GPU of the nodes' labels, its data sheet, a price, a zone."""

    gpu: str | None = Field(
        default=None,
        max_length=63,
        description="Kind of GPU that the figures are of: that with the most memory on the nodes that "
        "podTemplate.nodeSelector allows. Absent where no node tells.",
    )
    gpu_total_bytes: Bytes | None = Field(default=None, description="Memory that it has, in bytes.")
    gpu_memory_bytes: Bytes = Field(description="Memory of the GPU at the training's peak, in bytes.")
    tokens_per_pass: Count = Field(
        description="Tokens of the largest pass, as few passes as the memory holds."
    )
    gradient_checkpointing: bool = Field(
        default=False, description="Whether the training fits with gradient checkpointing only."
    )
    seconds: Count | None = Field(
        default=None,
        description="Seconds of training to its last step, validations included: without start, scoring, export and upload.",
    )
    energy_joules: Joules | None = Field(
        default=None, description="Energy of the GPU in these seconds in joules, before PUE."
    )
    emissions_milligrams: int | None = Field(
        default=None,
        ge=0,
        description="Milligrams of CO2 equivalent of that energy, after PUE; absent without a zone.",
    )
    cost: Decimal | None = Field(
        default=None,
        description="Price of the GPU for these seconds; absent where the operator has no price.",
    )
    currency: Annotated[str, Field(max_length=3)] | None = Field(
        default=None, description="Currency of the cost, ISO 4217."
    )
    method: str = Field(max_length=512, description="How the figures were computed.")
    needs: Needs = Field(description="What the figures were computed from.")

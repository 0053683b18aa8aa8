"""How a FineTuneJob trains: method, hyperparameters, checkpoints."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelgarden.api.base import ApiModel

Method = Literal["LoRA", "QLoRA", "Full"]


class LoraParameters(ApiModel):
    """Low-rank adapters on all linear layers, for the methods LoRA and QLoRA."""

    rank: Annotated[int, Field(ge=1, le=512)] = Field(
        default=16, description="Rank of the adapters. Default: 16."
    )
    alpha: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=32, description="Scaling: the adapter's output is multiplied by alpha / rank. Default: 32."
    )
    dropout: Annotated[float, Field(ge=0.0, le=0.9)] = Field(
        default=0.0, description="Dropout on the adapters' input. Default: 0."
    )


class Training(ApiModel):
    """Hyperparameters. Recorded as used in status.resolved and in the manifest."""

    epochs: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=3, description="Passes over the training split. Default: 3."
    )
    learning_rate: Annotated[float, Field(ge=1e-8, le=1.0)] = Field(
        default=2e-4, description="Peak learning rate of AdamW. Default: 2e-4."
    )
    effective_batch_size: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=16,
        description="Sequences per optimizer step; the trainer splits them into passes that fit the memory. Default: 16.",
    )
    max_sequence_length: Annotated[int, Field(ge=16, le=1_048_576)] = Field(
        default=2048, description="Longest row in tokens; longer rows are dropped and counted. Default: 2048."
    )
    warmup_ratio: Annotated[float, Field(ge=0.0, le=0.5)] = Field(
        default=0.05,
        description="Share of the steps with a rising learning rate, cosine decay after. Default: 0.05.",
    )
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        default=0.0, description="Weight decay of AdamW. Default: 0."
    )
    lora: LoraParameters = Field(default=LoraParameters(), description="Adapters, for LoRA and QLoRA.")
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] = Field(
        default=3407, description="Seed of split, shuffling and initialisation. Default: 3407."
    )


class Checkpoint(ApiModel):
    """Checkpoints to S3. One is also written on SIGTERM."""

    every_steps: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=100, description="Optimizer steps between checkpoints. Default: 100."
    )
    keep: Annotated[int, Field(ge=1, le=100)] = Field(
        default=2, description="Newest complete checkpoints that are kept in S3. Default: 2."
    )

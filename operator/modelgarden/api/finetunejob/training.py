"""How a FineTuneJob trains: method, hyperparameters, checkpoints."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from modelgarden.api.base import ApiModel, Rule
from modelgarden.api.finetunejob.rope import RopeScaling
from modelgarden.api.finetunejob.validation import EarlyStopping, Validation

Method = Literal["LoRA", "QLoRA", "Full"]
Optimizer = Literal["AdamW", "AdamW8bit"]
Schedule = Literal["Cosine", "Linear", "Constant", "InverseSqrt", "WarmupStableDecay"]

MODULE_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"

EPOCHS: Final = 3
"""Where neither epochs nor maxSteps are given."""
WARMUP_RATIO: Final = 0.05
"""Where neither warmupRatio nor warmupSteps are given."""
STALL_TIMEOUT_SECONDS: Final = 1800
"""Many times what the longest pass takes on a slow GPU, or a kernel that is compiled for a new length of rows."""

_ONE_END: Final = "set either epochs or maxSteps"
_ONE_WARMUP: Final = "set either warmupRatio or warmupSteps"
_STOPS_BLIND: Final = "earlyStopping goes by the validation loss; set validation.everySteps"


class LoraParameters(ApiModel):
    """Low-rank adapters on linear layers, for the methods LoRA and QLoRA."""

    rank: Annotated[int, Field(ge=1, le=512)] = Field(
        default=16, description="Rank of the adapters. Default: 16."
    )
    alpha: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=32,
        description="Scaling: the adapter's output is multiplied by alpha / rank, with useRslora by alpha / sqrt(rank). "
        "Default: 32.",
    )
    dropout: Annotated[float, Field(ge=0.0, le=0.9)] = Field(
        default=0.0, description="Dropout on the adapters' input. Default: 0."
    )
    target_modules: (
        Annotated[
            tuple[Annotated[str, Field(pattern=MODULE_PATTERN, max_length=64)], ...],
            Field(min_length=1, max_length=32),
        ]
        | None
    ) = Field(
        default=None,
        description="Names of the linear layers that get adapters, such as q_proj. Default: all but the output's.",
    )
    use_rslora: bool = Field(
        default=False,
        description="Rank-stabilised scaling (https://arxiv.org/abs/2312.03732), for large ranks. Default: false.",
    )
    use_dora: bool = Field(
        default=False,
        description="Weights are split into direction and magnitude (https://arxiv.org/abs/2402.09353); slower. "
        "Default: false.",
    )

    @property
    def is_plain(self) -> bool:
        """Whether nothing is asked for that only adapters have, but sizes."""
        return self.target_modules is None and not self.use_rslora and not self.use_dora


class Training(ApiModel):
    """Hyperparameters. Recorded as used in status.resolved and in the manifest."""

    epochs: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="Passes over the training split. Default: 3, where maxSteps is absent."
    )
    max_steps: Annotated[int, Field(ge=1, le=10_000_000)] | None = Field(
        default=None, description="Optimizer steps to train, instead of epochs. Default: none."
    )
    learning_rate: Annotated[float, Field(ge=1e-8, le=1.0)] | None = Field(
        default=None,
        description="Peak learning rate of AdamW. Default: 2e-4 for objective SFT, 5e-6 for DPO and KTO, 8e-6 for "
        "ORPO, 1e-5 for GRPO.",
    )
    effective_batch_size: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=16,
        description="Sequences per optimizer step; the trainer splits them into passes that fit the memory. Default: 16.",
    )
    max_sequence_length: Annotated[int, Field(ge=16, le=1_048_576)] = Field(
        default=2048,
        description="Longest row in tokens, or what the base model has positions for where that is less (ropeScaling gives "
        "it more); longer rows are dropped and counted. Default: 2048.",
    )
    rope_scaling: RopeScaling | None = Field(
        default=None,
        description="More positions than the base model has, for rows that are longer; the base model is scored with them "
        "too. Default: none.",
    )
    learning_rate_schedule: Schedule = Field(
        default="Cosine",
        description="How the learning rate goes on after the warm-up. Cosine, Linear: falls to 0 at the last step. "
        "Constant: stays. InverseSqrt: falls with the square root of the step. WarmupStableDecay: stays, and falls to 0 "
        "in the last tenth of the steps. Default: Cosine.",
    )
    warmup_ratio: Annotated[float, Field(ge=0.0, le=0.5)] | None = Field(
        default=None,
        description="Share of the steps with a rising learning rate. Default: 0.05, where warmupSteps is absent.",
    )
    warmup_steps: Annotated[int, Field(ge=0, le=1_000_000)] | None = Field(
        default=None,
        description="Steps with a rising learning rate, instead of warmupRatio; of a shorter run at most half. "
        "Default: none.",
    )
    max_gradient_norm: Annotated[float, Field(ge=0.0, le=1e6)] = Field(
        default=1.0,
        description="Gradients of a larger norm are scaled down to it; 0 leaves them as they are. Default: 1.",
    )
    optimizer: Optimizer = Field(
        default="AdamW",
        description="AdamW. AdamW8bit keeps its two moments in 8 bits, for method Full on a GPU: 6 bytes of memory for a "
        "trained parameter instead of 8. Default: AdamW.",
    )
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        default=0.0, description="Weight decay of AdamW. Default: 0."
    )
    packing: bool = Field(
        default=True,
        description="true: rows share passes through the model without padding, where the model allows it. false: each row "
        "is padded to the longest of its pass. Default: true.",
    )
    neftune_noise_alpha: Annotated[float, Field(ge=0.1, le=100.0)] | None = Field(
        default=None,
        description="NEFTune (https://arxiv.org/abs/2310.05914): noise on the embeddings while training, of this alpha, "
        "such as 5; rows are padded then. Default: none.",
    )
    validation: Validation | None = Field(
        default=None,
        description="Scores the held-out rows while training: the validation loss of the curve. Default: none.",
    )
    early_stopping: EarlyStopping | None = Field(
        default=None,
        description="Stops a training whose validation loss falls no more; the weights with the lowest one are scored and "
        "exported. Default: none, those of the last step are.",
    )
    lora: LoraParameters = Field(default=LoraParameters(), description="Adapters, for LoRA and QLoRA.")
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] = Field(
        default=3407, description="Seed of split, shuffling and initialisation. Default: 3407."
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(rule="!has(self.epochs) || !has(self.maxSteps)", message=_ONE_END, field_path=".maxSteps"),
        Rule(
            rule="!has(self.warmupRatio) || !has(self.warmupSteps)",
            message=_ONE_WARMUP,
            field_path=".warmupSteps",
        ),
        Rule(
            rule="!has(self.earlyStopping) || has(self.validation)",
            message=_STOPS_BLIND,
            field_path=".earlyStopping",
        ),
    )

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        if self.epochs is not None and self.max_steps is not None:
            raise ValueError(_ONE_END)
        if self.warmup_ratio is not None and self.warmup_steps is not None:
            raise ValueError(_ONE_WARMUP)
        return self

    @model_validator(mode="after")
    def _stops_by_what_it_sees(self) -> Self:
        if self.early_stopping is not None and self.validation is None:
            raise ValueError(_STOPS_BLIND)
        return self

    @property
    def of_first_form(self) -> bool:
        """Whether a trainer that knows the first fields alone would train the same."""
        known: dict[str, bool | set[str]] = {**dict.fromkeys(_FIRST_FIELDS, True), "lora": _FIRST_OF_LORA}
        return self.model_dump(exclude=known) == Training().model_dump(exclude=known)

    def steps(self, rows: int) -> int:
        """Return the optimizer steps of a run on so many rows; the last batch of an epoch may be smaller."""
        if self.max_steps is not None:
            return self.max_steps
        return (self.epochs or EPOCHS) * self._steps_of_an_epoch(rows)

    def epochs_in(self, steps: int, rows: int) -> float:
        """Return how often so many steps go over so many rows."""
        return steps / self._steps_of_an_epoch(rows)

    def steps_of_warmup(self, steps: int) -> int:
        """Return the steps with a rising learning rate, of so many in all."""
        if self.warmup_steps is not None:
            return min(self.warmup_steps, steps // 2)
        return math.ceil(steps * (WARMUP_RATIO if self.warmup_ratio is None else self.warmup_ratio))

    def _steps_of_an_epoch(self, rows: int) -> int:
        return math.ceil(rows / self.effective_batch_size)


_FIRST_FIELDS: Final = (
    "epochs", "learning_rate", "effective_batch_size", "max_sequence_length", "warmup_ratio", "weight_decay", "seed",
)  # fmt: skip
_FIRST_OF_LORA: Final = {"rank", "alpha", "dropout"}


class Checkpoint(ApiModel):
    """Checkpoints to S3. One is also written on SIGTERM."""

    every_steps: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=100, description="Optimizer steps between checkpoints. Default: 100."
    )
    keep: Annotated[int, Field(ge=1, le=100)] = Field(
        default=2, description="Newest complete checkpoints that are kept in S3 or GCS. Default: 2."
    )

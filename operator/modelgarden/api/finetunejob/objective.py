"""What a FineTuneJob trains towards: one type, with a block of its own where the type has settings."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from modelgarden.api.base import ApiModel, Rule
from modelgarden.api.finetunejob.rewards import Reward

ObjectiveType = Literal["SFT", "DPO", "ORPO", "KTO", "GRPO"]
DpoLoss = Literal["Sigmoid", "Hinge", "IPO", "Robust", "SigmoidNorm", "APOZero", "APODown"]
KtoLoss = Literal["KTO", "APOZero"]
GrpoLoss = Literal["GRPO", "DAPO", "DrGRPO"]

DEFAULT_LEARNING_RATES: Final[dict[ObjectiveType, float]] = {
    "SFT": 2e-4,
    "DPO": 5e-6,
    "ORPO": 8e-6,
    "KTO": 5e-6,
    "GRPO": 1e-5,
}
"""Of adapters. SFT: the QLoRA paper's (Dettmers et al. 2023). DPO: Zephyr's (alignment-handbook, zephyr-7b-dpo-qlora).
ORPO: the paper's (Hong et al. 2024). KTO: the highest that the paper advises (Ethayarajh et al. 2024, table 6). GRPO: ten
times that of all weights in DeepSeekMath (Shao et al. 2024), as TRL and Thinking Machines' "LoRA without regret" advise."""

_SMOOTHED: Final = "labelSmoothing is of lossType Robust, which must have more than 0; set it there only"


class Dpo(ApiModel):
    """Direct preference optimization (Rafailov et al. 2023); the reference is the base model."""

    beta: Annotated[float, Field(ge=0.001, le=10)] = Field(
        default=0.1,
        description="How closely the model stays with the base model: higher is closer. Default: 0.1.",
    )
    loss_type: DpoLoss = Field(
        default="Sigmoid",
        description="Sigmoid: of the paper. Hinge: SLiC. IPO: does not overfit to clear preferences. Robust: some pairs are "
        "the wrong way round. SigmoidNorm: per token, so that long answers are not favoured. APOZero: the chosen answers "
        "are better than the model's; APODown: they are worse. Default: Sigmoid.",
    )
    label_smoothing: Annotated[float, Field(ge=0, le=0.49)] = Field(
        default=0.0,
        description="Share of pairs that are the wrong way round, for lossType Robust. Default: 0.",
    )
    sft_weight: Annotated[float, Field(ge=0, le=100)] = Field(
        default=0.0,
        description="Weight of the chosen answers' own loss beside the preference's (RPO); keeps them likely. Default: 0.",
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="(self.lossType == 'Robust') == (self.labelSmoothing > 0.0)",
            message=_SMOOTHED,
            field_path=".labelSmoothing",
        ),
    )

    @model_validator(mode="after")
    def _smoothing_fits(self) -> Self:
        if (self.loss_type == "Robust") != (self.label_smoothing > 0):
            raise ValueError(_SMOOTHED)
        return self


class Orpo(ApiModel):
    """Odds ratio preference optimization (Hong et al. 2024): answers and preferences at once, without a reference."""

    beta: Annotated[float, Field(ge=0.001, le=10)] = Field(
        default=0.1,
        description="Weight of the preference beside the chosen answers' own loss; lambda in the paper. Default: 0.1.",
    )


class Kto(ApiModel):
    """Kahneman-Tversky optimization (Ethayarajh et al. 2024); the reference is the base model."""

    beta: Annotated[float, Field(ge=0.001, le=10)] = Field(
        default=0.1,
        description="How closely the model stays with the base model: higher is closer. Default: 0.1.",
    )
    loss_type: KtoLoss = Field(
        default="KTO",
        description="KTO: of the paper. APOZero: without an estimate of the distance to the base model, for good answers "
        "that are better than the model's. Default: KTO.",
    )
    desirable_weight: Annotated[float, Field(ge=0.01, le=100)] = Field(
        default=1.0,
        description="Weight of a good answer. Where one kind is rarer, weigh it so that weight x rows of good answers is "
        "1 to 1.33 times that of bad ones. Default: 1.",
    )
    undesirable_weight: Annotated[float, Field(ge=0.01, le=100)] = Field(
        default=1.0, description="Weight of a bad answer. Default: 1."
    )


class Grpo(ApiModel):
    """Group relative policy optimization (Shao et al. 2024): of its own completions, the better are made likelier."""

    rewards: Annotated[tuple[Reward, ...], Field(min_length=1, max_length=8)] = Field(
        description="What makes a completion good; the sum, by weight, is what the training raises."
    )
    generations: Annotated[int, Field(ge=2, le=64)] = Field(
        default=8, description="Completions of each prompt, which are held against one another. Default: 8."
    )
    max_completion_length: Annotated[int, Field(ge=1, le=131_072)] = Field(
        default=256, description="Most tokens of a completion; longer ones are cut. Default: 256."
    )
    temperature: Annotated[float, Field(ge=0.01, le=10)] = Field(
        default=1.0, description="Of sampling: higher varies more. Default: 1.0."
    )
    top_p: Annotated[float, Field(ge=0.01, le=1)] = Field(
        default=1.0, description="Share of the likeliest tokens that is sampled from. Default: 1.0."
    )
    beta: Annotated[float, Field(ge=0, le=10)] = Field(
        default=0.0,
        description="Weight of the distance to the base model (KL), which keeps the model near it. Default: 0.0, none, "
        "which spares the base model's pass.",
    )
    loss_type: GrpoLoss = Field(
        default="DAPO",
        description="What the loss is the mean over. GRPO: a completion's tokens, then the completions, as in the paper. "
        "DAPO: all tokens of a step, so that long completions weigh as much by token. DrGRPO: maxCompletionLength, without "
        "a bias to longer wrong answers. Default: DAPO.",
    )
    scale_rewards: bool = Field(
        default=True,
        description="Whether a prompt's rewards are divided by their standard deviation; false, as Dr. GRPO advises, "
        "leaves prompts that are easy or hard at their own weight. Default: true.",
    )
    mask_truncated: bool = Field(
        default=False,
        description="Whether completions that were cut at maxCompletionLength are left out of the loss. Default: false.",
    )


_BLOCKS: Final[dict[str, ObjectiveType]] = {"dpo": "DPO", "orpo": "ORPO", "kto": "KTO", "grpo": "GRPO"}
"""The type that a block has the settings of."""


_NO_REWARDS: Final = "objective GRPO needs grpo.rewards, which say what makes a completion good"


def _elsewhere(block: str) -> str:
    return (
        f"{block} holds the settings of type {_BLOCKS[block]}; set type to {_BLOCKS[block]} or remove {block}"
    )


class Objective(ApiModel):
    """What is learned of the rows."""

    type: ObjectiveType = Field(
        default="SFT",
        description="SFT: the answers. DPO, ORPO: which of two answers is better, of rows of the format Preference. KTO: "
        "which answers are good, of rows of the format KTO. GRPO: what earns rewards, of prompts with an answer to compare "
        "with. Default: SFT.",
    )
    dpo: Dpo | None = Field(default=None, description="Settings of type DPO. Default: those of its fields.")
    orpo: Orpo | None = Field(
        default=None, description="Settings of type ORPO. Default: those of its fields."
    )
    kto: Kto | None = Field(default=None, description="Settings of type KTO. Default: those of its fields.")
    grpo: Grpo | None = Field(default=None, description="Settings of type GRPO, which needs rewards.")

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        *(
            Rule(
                rule=f"!has(self.{block}) || self.type == '{kind}'",
                message=_elsewhere(block),
                field_path=f".{block}",
            )
            for block, kind in _BLOCKS.items()
        ),
        Rule(
            rule="!has(self.type) || self.type != 'GRPO' || has(self.grpo)",  # not yet where {} is the default
            message=_NO_REWARDS,
            field_path=".grpo",
        ),
    )

    @model_validator(mode="after")
    def _blocks_fit(self) -> Self:
        for block, kind in _BLOCKS.items():
            if getattr(self, block) is not None and self.type != kind:
                raise ValueError(_elsewhere(block))
        if self.type == "GRPO" and self.grpo is None:
            raise ValueError(_NO_REWARDS)
        return self

    @property
    def files(self) -> tuple[str, ...]:
        """URIs of what the rewards need, each once."""
        rewards = self.grpo.rewards if self.grpo else ()
        return tuple(dict.fromkeys(reward.file for reward in rewards if reward.file))

    @property
    def settings(self) -> Dpo | Orpo | Kto | Grpo | None:
        """Those of the type, None for one that has none."""
        match self.type:
            case "DPO":
                return self.dpo or Dpo()
            case "ORPO":
                return self.orpo or Orpo()
            case "KTO":
                return self.kto or Kto()
            case "GRPO":
                return self.grpo
        return None

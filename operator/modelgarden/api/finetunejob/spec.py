"""The spec of a FineTuneJob.

Everything that reaches the pods is immutable; `suspend`, `activeDeadlineSeconds`, `backoffLimit`, `interruptionLimit`
and `ttlSecondsAfterFinished` can change.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from modelgarden.api.access import Storage
from modelgarden.api.base import ApiModel, Rule
from modelgarden.api.common import Carbon, PodTemplate, TrainingResources
from modelgarden.api.finetunejob.dataset import Dataset
from modelgarden.api.finetunejob.evaluation import Evaluation
from modelgarden.api.finetunejob.model import BaseModelSource
from modelgarden.api.finetunejob.objective import Objective
from modelgarden.api.finetunejob.output import Output
from modelgarden.api.finetunejob.trackers import Trackers
from modelgarden.api.finetunejob.training import STALL_TIMEOUT_SECONDS, Checkpoint, Method, Training
from modelgarden.api.finetunejob.vision import Modality, Vision

IMMUTABLE_FIELDS: Final = (
    "model", "method", "modality", "vision", "objective", "dataset", "training", "output", "storage", "resources",
    "podTemplate", "checkpoint", "evaluation", "carbon", "trackers", "dryRun", "stallTimeoutSeconds",
)  # fmt: skip

_OPTIONAL: Final = ("vision",)
"""Of these, those that need not be there."""

_ALONE = "objective KTO compares the rows of a step; set training.effectiveBatchSize to at least 2"
_IDLE_GPUS = "the GPUs share the rows of each step; training.effectiveBatchSize must be at least resources.gpus x nodes"
_MOST_FAILURES = 30
"""Of a training on several nodes: what status.attempts surely lists."""
_TOO_MANY_FAILURES = (
    "failures of several nodes are counted by status.attempts; set backoffLimit to at most 30"
)
_NO_ADAPTERS = "method Full has no adapters; remove targetModules, useRslora and useDora"
_EIGHT_BITS = "optimizer AdamW8bit is for method Full on a GPU; use AdamW"
_NO_REFERENCE = (
    "method Full keeps no base model to stay near; set objective.grpo.beta to 0, or use LoRA or QLoRA"
)
_NO_ROOM = "objective.grpo.maxCompletionLength must be less than training.maxSequenceLength, which holds the prompt too"
_NO_LOSS = "objective GRPO has no loss that tells how good a model is; remove training.validation"
_NO_IMAGES = "vision says how images go into the model; set modality to Vision or remove vision"
_ONLY_ANSWERS = "modality Vision learns answers; set objective.type to SFT"
_NO_FULL_VISION = "modality Vision trains adapters; set method to LoRA or QLoRA"
_NO_VISION_GGUF = "GGUF holds no vision model; remove GGUF from output.formats"
_LEFT_OUT = (
    "vLLM leaves adapters of vision layers out without an error; remove Adapter from output.formats and serve Merged16Bit, "
    "or set vision.visionLayers to false"
)
_ONLY_TEXT_SCALES = "training.ropeScaling is for models of text; remove it, or set modality to Text"
_UNSCALED = "an adapter alone does not tell how the base model's positions are scaled; add Merged16Bit to output.formats"
_OWN_INPUT = "output.uri must not be a source of dataset or model, nor below one: what is written would change the input"


def _lies_below(uri: str) -> str:
    """Return the CEL expression that the output is what a URI names, or is below it; of a pattern only ** reaches there."""
    folder = f"{uri}.split('**')[0]"
    return f"(self.output.uri + '/').startsWith({folder}.endsWith('/') ? {folder} : {folder} + '/')"


class FineTuneJobSpec(ApiModel):
    """What to tune, on what, with which limits."""

    model: BaseModelSource = Field(description="The base model.")
    method: Method = Field(
        default="LoRA",
        description="LoRA: adapters on a 16-bit base. QLoRA: adapters on a base of 4 bits (NF4 with double quantization), "
        "needs a GPU. Full: all weights. Default: LoRA.",
    )
    modality: Modality = Field(
        default="Text",
        description="What the rows show the model. Text: text alone. Vision: images beside it; needs a vision model of the "
        "kinds Qwen2-VL, Qwen2.5-VL or Qwen3-VL. Default: Text.",
    )
    vision: Vision | None = Field(
        default=None,
        description="How images go into the model. Only with modality Vision. Default: those of its fields.",
    )
    objective: Objective = Field(
        default=Objective(), description="What is trained towards. Default: supervised fine-tuning (SFT)."
    )
    dataset: Dataset = Field(description="The training data.")
    training: Training = Field(default=Training(), description="Hyperparameters.")
    output: Output = Field(description="Where the artifact goes.")
    storage: Storage = Field(default=Storage(), description="How to reach S3 and GCS.")
    resources: TrainingResources = Field(
        default=TrainingResources(), description="Compute of the training pod."
    )
    pod_template: PodTemplate = Field(
        default_factory=PodTemplate, description="What is added to the pods of this job."
    )
    checkpoint: Checkpoint = Field(default=Checkpoint(), description="Checkpoints to storage.")
    evaluation: Evaluation = Field(default=Evaluation(), description="Held-out evaluation.")
    carbon: Carbon = Field(default=Carbon(), description="What emissions are computed with.")
    trackers: Trackers = Field(default=Trackers(), description="Where the training is followed.")
    dry_run: bool = Field(
        default=False,
        description="true checks and prepares the dataset, estimates the training and completes there: no GPU is taken, "
        "nothing is trained. "
        "Default: false.",
    )
    suspend: bool = Field(
        default=False,
        description="true stops the running pod after a checkpoint and starts none; false resumes. Default: false.",
    )
    backoff_limit: Annotated[int, Field(ge=0, le=100)] = Field(
        default=3,
        description="Failures of the training pod before the job fails. Interruptions, storage outages and wrong input do "
        "not count. Default: 3.",
    )
    interruption_limit: Annotated[int, Field(ge=1, le=30)] = Field(
        default=20,
        description="Interruptions in a row (lost nodes, evictions, preemptions) without a newer checkpoint between them, "
        "after which the job fails. Default: 20.",
    )
    stall_timeout_seconds: Annotated[int, Field(ge=60, le=86_400)] = Field(
        default=STALL_TIMEOUT_SECONDS,
        description="Seconds without a pass through the model, once steps follow each other, after which the training "
        "process counts as stalled: it is ended, and the next attempt resumes at the newest checkpoint. Loading, scoring "
        "and exporting have an hour at least. Default: 1800.",
    )
    active_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = Field(
        default=None,
        description="Seconds from acceptance, anew from each resumption, after which the job fails. Default: none.",
    )
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=315_360_000)] | None = Field(
        default=None,
        description="Seconds after the end at which this resource is deleted; artifacts in storage stay. Default: never.",
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.method != 'QLoRA' || self.resources.gpus > 0",
            message="method QLoRA needs a GPU; set resources.gpus to 1 or use LoRA",
            field_path=".method",
        ),
        Rule(
            rule="self.resources.gpus * self.resources.nodes <= self.training.effectiveBatchSize",
            message=_IDLE_GPUS,
            field_path=".resources.gpus",
        ),
        Rule(
            rule=f"self.resources.nodes == 1 || self.backoffLimit <= {_MOST_FAILURES}",
            message=_TOO_MANY_FAILURES,
            field_path=".backoffLimit",
        ),
        Rule(
            rule="self.method != 'Full' || !('Adapter' in self.output.formats)",
            message="method Full makes no adapter; remove Adapter from output.formats",
            field_path=".output.formats",
        ),
        Rule(
            rule="self.objective.type != 'KTO' || self.training.effectiveBatchSize > 1",
            message=_ALONE,
            field_path=".training.effectiveBatchSize",
        ),
        Rule(
            rule="self.method != 'Full' || !has(self.objective.grpo) || self.objective.grpo.beta == 0.0",
            message=_NO_REFERENCE,
            field_path=".objective",
        ),
        Rule(
            rule="!has(self.objective.grpo) "
            "|| self.objective.grpo.maxCompletionLength < self.training.maxSequenceLength",
            message=_NO_ROOM,
            field_path=".objective",
        ),
        Rule(
            rule="!has(self.objective.grpo) || !has(self.training.validation)",
            message=_NO_LOSS,
            field_path=".training.validation",
        ),
        Rule(
            rule="self.method != 'Full' || !(has(self.training.lora.targetModules) || self.training.lora.useRslora "
            "|| self.training.lora.useDora)",
            message=_NO_ADAPTERS,
            field_path=".training.lora",
        ),
        Rule(
            rule="self.training.optimizer != 'AdamW8bit' || (self.method == 'Full' && self.resources.gpus > 0)",
            message=_EIGHT_BITS,
            field_path=".training.optimizer",
        ),
        Rule(
            rule="self.modality == 'Vision' || !has(self.vision)",
            message=_NO_IMAGES,
            field_path=".vision",
        ),
        Rule(
            rule="self.modality == 'Text' || self.objective.type == 'SFT'",
            message=_ONLY_ANSWERS,
            field_path=".objective",
        ),
        Rule(
            rule="self.modality == 'Text' || self.method != 'Full'",
            message=_NO_FULL_VISION,
            field_path=".method",
        ),
        Rule(
            rule="self.modality == 'Text' || !('GGUF' in self.output.formats)",
            message=_NO_VISION_GGUF,
            field_path=".output.formats",
        ),
        Rule(
            rule="!has(self.vision) || !self.vision.visionLayers || !('Adapter' in self.output.formats)",
            message=_LEFT_OUT,
            field_path=".output.formats",
        ),
        Rule(
            rule="self.modality == 'Text' || !has(self.training.ropeScaling)",
            message=_ONLY_TEXT_SCALES,
            field_path=".training.ropeScaling",
        ),
        Rule(
            rule="!has(self.training.ropeScaling) || self.output.formats.exists(one, one != 'Adapter')",
            message=_UNSCALED,
            field_path=".output.formats",
        ),
        Rule(
            rule=f"(!has(self.dataset.source) || !{_lies_below('self.dataset.source')}) "
            f"&& (!has(self.dataset.sources) || self.dataset.sources.all(one, !{_lies_below('one.uri')})) "
            "&& (!has(self.dataset.validationSources) "
            f"|| self.dataset.validationSources.all(one, !{_lies_below('one.uri')})) "
            "&& (!has(self.model.source) "
            "|| !(self.output.uri + '/runs/').startsWith(self.model.source + '/'))",
            message=_OWN_INPUT,
            field_path=".output.uri",
        ),
        *(
            Rule(
                rule=f"self.{name} == oldSelf.{name}",
                message=f"{name} is immutable; create a new FineTuneJob",
                field_path=f".{name}",
            )
            for name in IMMUTABLE_FIELDS
            if name not in _OPTIONAL
        ),
        *(
            Rule(
                rule=f"has(self.{name}) == has(oldSelf.{name}) "
                f"&& (!has(self.{name}) || self.{name} == oldSelf.{name})",
                message=f"{name} is immutable; create a new FineTuneJob",
                field_path=f".{name}",
            )
            for name in _OPTIONAL
        ),
    )

    @model_validator(mode="after")
    def _method_fits(self) -> Self:
        if self.method == "QLoRA" and self.resources.gpus == 0:
            raise ValueError("method QLoRA needs a GPU; set resources.gpus to 1 or use LoRA")
        if self.method == "Full" and "Adapter" in self.output.formats:
            raise ValueError("method Full makes no adapter; remove Adapter from output.formats")
        if self.method == "Full" and not self.training.lora.is_plain:
            raise ValueError(_NO_ADAPTERS)
        if self.training.optimizer == "AdamW8bit" and (self.method != "Full" or self.resources.gpus == 0):
            raise ValueError(_EIGHT_BITS)
        return self

    @model_validator(mode="after")
    def _modality_fits(self) -> Self:
        if self.modality == "Text":
            if self.vision is not None:
                raise ValueError(_NO_IMAGES)
            return self
        if self.objective.type != "SFT":
            raise ValueError(_ONLY_ANSWERS)
        if self.method == "Full":
            raise ValueError(_NO_FULL_VISION)
        if "GGUF" in self.output.formats:
            raise ValueError(_NO_VISION_GGUF)
        if self.vision is not None and self.vision.vision_layers and "Adapter" in self.output.formats:
            raise ValueError(_LEFT_OUT)
        return self

    @model_validator(mode="after")
    def _scaled_positions_are_told(self) -> Self:
        if self.training.rope_scaling is None:
            return self
        if self.modality != "Text":
            raise ValueError(_ONLY_TEXT_SCALES)
        if set(self.output.formats) == {"Adapter"}:
            raise ValueError(_UNSCALED)
        return self

    @model_validator(mode="after")
    def _each_gpu_has_rows(self) -> Self:
        if self.resources.gpus * self.resources.nodes > self.training.effective_batch_size:
            raise ValueError(_IDLE_GPUS)
        return self

    @model_validator(mode="after")
    def _failures_can_be_counted(self) -> Self:
        if self.resources.nodes > 1 and self.backoff_limit > _MOST_FAILURES:
            raise ValueError(_TOO_MANY_FAILURES)
        return self

    @model_validator(mode="after")
    def _objective_fits(self) -> Self:
        if self.objective.type == "KTO" and self.training.effective_batch_size == 1:
            raise ValueError(_ALONE)
        return self

    @model_validator(mode="after")
    def _completions_fit(self) -> Self:
        grpo = self.objective.grpo
        if grpo is not None and grpo.beta and self.method == "Full":
            raise ValueError(_NO_REFERENCE)
        if grpo is not None and grpo.max_completion_length >= self.training.max_sequence_length:
            raise ValueError(_NO_ROOM)
        if grpo is not None and self.training.validation is not None:
            raise ValueError(_NO_LOSS)
        return self

    @property
    def data(self) -> tuple[str, ...]:
        """URIs of what is brought for the training beside the model: the dataset's sources, and what rewards need."""
        return (*(source.uri for source in self.dataset.all_sources), *self.objective.files)

    @model_validator(mode="after")
    def _output_is_no_input(self) -> Self:
        written = f"{self.output.uri}/"
        inputs = tuple(f"{source.uri.split('**')[0].rstrip('/')}/" for source in self.dataset.all_sources)
        model = self.model.source
        if written.startswith(inputs) or (model is not None and f"{written}runs/".startswith(f"{model}/")):
            raise ValueError(_OWN_INPUT)
        return self

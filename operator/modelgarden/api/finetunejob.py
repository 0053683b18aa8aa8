"""FineTuneJob: tune a base model on a dataset and register the artifact.

Everything that shapes the result is immutable; `suspend`, `activeDeadlineSeconds`, `backoffLimit` and
`ttlSecondsAfterFinished` can change.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from modelgarden.api.base import ApiModel, Decimal, ModelName, ModelUri, Rule, S3Uri, Sha256, Timestamp
from modelgarden.api.common import Carbon, LocalReference, PodTemplate, Storage, TrainingResources
from modelgarden.api.conditions import Condition
from modelgarden.api.emissions import EmissionsRecord

KIND: Final = "FineTuneJob"
PLURAL: Final = "finetunejobs"

Method = Literal["LoRA", "QLoRA", "Full"]
ArtifactFormat = Literal["Adapter", "Merged16Bit"]
DatasetFormat = Literal["Auto", "PromptCompletion", "Messages"]
Phase = Literal[
    "Pending", "Blocked", "Preparing", "Training", "Registering", "Suspended", "Complete", "Failed"
]

IMMUTABLE_FIELDS: Final = (
    "model", "method", "dataset", "training", "output", "storage", "resources", "podTemplate",
    "checkpoint", "evaluation", "carbon",
)  # fmt: skip


REVISION_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._/-]*$"


class BaseModelSource(ApiModel):
    """The base model."""

    source: ModelUri = Field(
        description="Where the base model lies: s3://bucket/prefix (a Hugging Face folder) or hf://org/name."
    )
    revision: Annotated[str, Field(pattern=REVISION_PATTERN, max_length=128)] | None = Field(
        default=None,
        description="Branch, tag or commit of an hf:// model. Default: main; the commit is recorded in the manifest.",
    )
    token_secret_ref: LocalReference | None = Field(
        default=None, description="Secret with the key HF_TOKEN for a gated hf:// model. Default: none."
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.source.startsWith('hf://') || !(has(self.revision) || has(self.tokenSecretRef))",
            message="revision and tokenSecretRef are for an hf:// source only",
        ),
    )

    @model_validator(mode="after")
    def _hub_fields_need_the_hub(self) -> Self:
        if not self.source.startswith("hf://") and (self.revision or self.token_secret_ref):
            raise ValueError("revision and tokenSecretRef are for an hf:// source only")
        return self


class Dataset(ApiModel):
    """The training data."""

    source: S3Uri = Field(description="JSON Lines file in S3: s3://bucket/path.jsonl, one object per line.")
    format: DatasetFormat = Field(
        default="Auto",
        description="PromptCompletion: fields prompt and completion. Messages: field messages with role and content. "
        "Default: Auto, decided by the first row; every row must then have that format.",
    )
    validation_split: Annotated[float, Field(ge=0.01, le=0.5)] = Field(
        default=0.1,
        description="Share of the distinct prompts that is held out for evaluation, never trained on. Default: 0.1.",
    )


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
        description="Sequences per optimizer step; the trainer chooses micro-batch and gradient accumulation. Default: 16.",
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


class Output(ApiModel):
    """Where the artifact goes."""

    uri: S3Uri = Field(
        description="Root of the garden in S3: s3://bucket/prefix. Runs and the registry lie under it."
    )
    formats: tuple[ArtifactFormat, ...] = Field(
        default=("Merged16Bit",),
        min_length=1,
        max_length=2,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Adapter: the LoRA weights. Merged16Bit: the whole model in 16 bit, which ModelDeployment serves. "
        "Default: [Merged16Bit].",
    )
    model_name: ModelName = Field(
        description="Name in the registry; each successful job adds a version and moves the alias latest."
    )

    @model_validator(mode="after")
    def _formats_are_a_set(self) -> Self:
        if len(set(self.formats)) != len(self.formats):
            raise ValueError("formats must not repeat")
        return self


class Checkpoint(ApiModel):
    """Checkpoints to S3. One is also written on SIGTERM."""

    every_steps: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=100, description="Optimizer steps between checkpoints. Default: 100."
    )
    keep: Annotated[int, Field(ge=1, le=100)] = Field(
        default=2, description="Newest complete checkpoints that are kept in S3. Default: 2."
    )


class Evaluation(ApiModel):
    """Held-out perplexity and exact match of base and tuned model."""

    max_new_tokens: Annotated[int, Field(ge=1, le=8192)] = Field(
        default=256,
        description="Longest answer that is generated for a held-out row, in tokens. Default: 256.",
    )
    max_rows: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=1000, description="Most held-out rows that are evaluated, the first by digest. Default: 1000."
    )


class FineTuneJobSpec(ApiModel):
    """What to tune, on what, with which limits."""

    model: BaseModelSource = Field(description="The base model.")
    method: Method = Field(
        default="LoRA",
        description="LoRA: adapters on a 16-bit base. QLoRA: adapters on a 4-bit base, needs a GPU. Full: all weights. "
        "Default: LoRA.",
    )
    dataset: Dataset = Field(description="The training data.")
    training: Training = Field(default=Training(), description="Hyperparameters.")
    output: Output = Field(description="Where the artifact goes.")
    storage: Storage = Field(default=Storage(), description="How to reach S3.")
    resources: TrainingResources = Field(
        default=TrainingResources(), description="Compute of the training pod."
    )
    pod_template: PodTemplate = Field(
        default_factory=PodTemplate, description="What is added to the pods of this job."
    )
    checkpoint: Checkpoint = Field(default=Checkpoint(), description="Checkpoints to S3.")
    evaluation: Evaluation = Field(default=Evaluation(), description="Held-out evaluation.")
    carbon: Carbon = Field(default=Carbon(), description="What emissions are computed with.")
    suspend: bool = Field(
        default=False,
        description="true stops the running pod after a checkpoint and starts none; false resumes. Default: false.",
    )
    backoff_limit: Annotated[int, Field(ge=0, le=100)] = Field(
        default=3,
        description="Failures of the training pod before the job fails. Evictions, storage outages and wrong input do not "
        "count. Default: 3.",
    )
    active_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = Field(
        default=None,
        description="Seconds from acceptance, anew from each resumption, after which the job fails. Default: none.",
    )
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=315_360_000)] | None = Field(
        default=None,
        description="Seconds after the end at which this resource is deleted; artifacts in S3 stay. Default: never.",
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.method != 'QLoRA' || self.resources.gpus > 0",
            message="method QLoRA needs a GPU; set resources.gpus to 1 or use LoRA",
            field_path=".method",
        ),
        Rule(
            rule="self.method != 'Full' || !('Adapter' in self.output.formats)",
            message="method Full makes no adapter; remove Adapter from output.formats",
            field_path=".output.formats",
        ),
        *(
            Rule(
                rule=f"self.{name} == oldSelf.{name}",
                message=f"{name} is immutable; create a new FineTuneJob",
                field_path=f".{name}",
            )
            for name in IMMUTABLE_FIELDS
        ),
    )

    @model_validator(mode="after")
    def _method_fits(self) -> Self:
        if self.method == "QLoRA" and self.resources.gpus == 0:
            raise ValueError("method QLoRA needs a GPU; set resources.gpus to 1 or use LoRA")
        if self.method == "Full" and "Adapter" in self.output.formats:
            raise ValueError("method Full makes no adapter; remove Adapter from output.formats")
        return self


class Progress(ApiModel):
    """How far the training pod is."""

    stage: str = Field(
        max_length=32,
        description="Restoring, Loading, EvaluatingBase, Training, EvaluatingTuned, Exporting, Uploading or Done.",
    )
    step: int = Field(default=0, ge=0, description="Optimizer steps done.")
    total_steps: int = Field(default=0, ge=0, description="Optimizer steps in all.")
    percent: int = Field(default=0, ge=0, le=100, description="Share of the steps that is done.")
    epoch: Decimal | None = Field(default=None, description="Epochs done.")
    loss: Decimal | None = Field(default=None, description="Training loss of the newest logged step.")
    tokens_per_second: int | None = Field(default=None, ge=0, description="Tokens trained on per second.")
    eta_seconds: int | None = Field(
        default=None, ge=0, description="Seconds until the last step, at this speed."
    )
    gpu_memory_mib: int | None = Field(
        default=None, ge=0, alias="gpuMemoryMiB", description="Peak GPU memory in MiB."
    )
    resumed_from_step: int | None = Field(
        default=None, ge=0, description="Step of the checkpoint that this attempt resumed at."
    )
    checkpoint_step: int | None = Field(
        default=None, ge=0, description="Step of the newest complete checkpoint in S3."
    )


class DatasetStatus(ApiModel):
    """What prepare found."""

    rows: int = Field(ge=0, description="Rows read.")
    training_rows: int = Field(ge=0, description="Rows in the training split.")
    validation_rows: int = Field(ge=0, description="Rows held out.")
    dropped: dict[str, int] = Field(
        default_factory=dict, max_length=16, description="Rows dropped, by reason: Duplicate, TooLong."
    )
    tokens: int = Field(ge=0, description="Tokens of the training split.")
    format: DatasetFormat = Field(description="Format that was found.")
    digest: Sha256 = Field(description="SHA-256 over the prepared splits.")


class Resolved(ApiModel):
    """What was used where the spec leaves a choice."""

    revision: str | None = Field(default=None, max_length=128, description="Commit of an hf:// base model.")
    image: str | None = Field(default=None, max_length=512, description="Trainer image.")
    image_digest: str | None = Field(
        default=None, max_length=512, description="Image ID that the node reports."
    )
    hyperparameters: dict[str, Annotated[str, Field(max_length=128)]] = Field(
        default_factory=dict, max_length=64, description="Hyperparameters as used."
    )


class AttemptStatus(ApiModel):
    """One training pod."""

    pod: str = Field(max_length=253, description="Name of the pod.")
    start_time: Timestamp | None = Field(default=None, description="When it started.")
    end_time: Timestamp | None = Field(default=None, description="When it ended.")
    reason: str | None = Field(default=None, max_length=64, description="How it ended.")
    message: str | None = Field(default=None, max_length=1024, description="What it said.")


class Scores(ApiModel):
    """Held-out scores of one model."""

    perplexity: Decimal = Field(
        description="exp of the mean negative log-likelihood per completion token; lower is better."
    )
    exact_match: Decimal = Field(description="Share of answers equal to the reference, 0 to 1.")


class EvaluationStatus(ApiModel):
    """Base and tuned model on the held-out rows."""

    rows: int = Field(ge=0, description="Rows evaluated.")
    base: Scores = Field(description="The base model.")
    tuned: Scores = Field(description="The tuned model.")


class ArtifactStatus(ApiModel):
    """The registered artifact."""

    uri: S3Uri = Field(description="URI of the run's manifest.json.")
    manifest_sha256: Sha256 = Field(description="SHA-256 of manifest.json.")
    model_name: ModelName = Field(description="Name in the registry.")
    version: int = Field(ge=1, description="Version in the registry.")
    formats: tuple[ArtifactFormat, ...] = Field(max_length=2, description="Formats that the artifact has.")
    bytes: int = Field(ge=0, description="Size of all files in bytes.")


class FineTuneJobStatus(ApiModel):
    """What the operator observed. Conditions are the contract, phase is for people."""

    phase: Phase | None = Field(default=None, description="Summary for people; derived from the conditions.")
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        description="Accepted, DatasetReady, Running, ArtifactRegistered, Suspended, Complete, Failed.",
    )
    observed_generation: int | None = Field(
        default=None, ge=0, description="metadata.generation that this status was computed for."
    )
    start_time: Timestamp | None = Field(default=None, description="When the job was accepted.")
    completion_time: Timestamp | None = Field(default=None, description="When the job completed or failed.")
    progress: Progress | None = Field(default=None, description="Progress of the training pod.")
    dataset: DatasetStatus | None = Field(default=None, description="What prepare found.")
    resolved: Resolved | None = Field(
        default=None, description="What was used where the spec leaves a choice."
    )
    attempts: tuple[AttemptStatus, ...] = Field(
        default=(), max_length=32, description="Training pods, oldest first."
    )
    evaluation: EvaluationStatus | None = Field(default=None, description="Held-out scores.")
    artifact: ArtifactStatus | None = Field(default=None, description="The registered artifact.")
    carbon: EmissionsRecord | None = Field(
        default=None, description="Energy and emissions of the training pods."
    )

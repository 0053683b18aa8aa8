"""The status of a FineTuneJob: what the operator observed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from modelgarden.api.base import ApiModel, Decimal, ModelName, Sha256, StorageUri, Timestamp
from modelgarden.api.conditions import Condition
from modelgarden.api.emissions import EmissionsRecord
from modelgarden.api.evaluation import EvaluationStatus, with_metrics
from modelgarden.api.finetunejob.estimate import Estimate
from modelgarden.api.finetunejob.formats import ArtifactFormat
from modelgarden.api.finetunejob.hub import HubStatus
from modelgarden.api.finetunejob.parent import Parent
from modelgarden.api.finetunejob.source import DatasetFormat
from modelgarden.api.finetunejob.trackers import TrackerStatuses
from modelgarden.api.finetunejob.validation import ValidationStatus
from modelgarden.api.messages import Message

Phase = Literal[
    "Pending", "Blocked", "Preparing", "Training", "Registering", "Suspended", "Complete", "Failed"
]


class Progress(ApiModel):
    """How far the training pod is."""

    stage: str = Field(
        max_length=32,
        description="Gathering (several nodes), Restoring, Loading, EvaluatingBase, Training, Validating, "
        "EvaluatingTuned, Exporting, Uploading or Done.",
    )
    step: int = Field(default=0, ge=0, description="Optimizer steps done.")
    total_steps: int = Field(
        default=0,
        ge=0,
        description="Optimizer steps in all; of a training that stopped early those that it did.",
    )
    percent: int = Field(default=0, ge=0, le=100, description="Share of the steps that is done.")
    epoch: Decimal | None = Field(default=None, description="Epochs done.")
    loss: Decimal | None = Field(default=None, description="Training loss of the newest logged step.")
    reward: Decimal | None = Field(
        default=None, description="GRPO: mean reward of the completions at the newest logged step."
    )
    reward_margin: Decimal | None = Field(
        default=None,
        description="DPO, ORPO, KTO: implicit reward of chosen answers less that of rejected ones, at the newest logged "
        "step.",
    )
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
        default=None, ge=0, description="Step of the newest complete checkpoint in S3 or GCS."
    )


class Lengths(ApiModel):
    """Lengths of rows in tokens: each is a row's."""

    p50: int = Field(ge=0, description="Half of the rows are no longer.")
    p90: int = Field(ge=0, description="90 % of the rows are no longer.")
    p99: int = Field(ge=0, description="99 % of the rows are no longer.")
    max: int = Field(ge=0, description="The longest row.")


class DatasetStatus(ApiModel):
    """What prepare found."""

    rows: int = Field(ge=0, description="Rows read.")
    training_rows: int = Field(ge=0, description="Rows in the training split.")
    validation_rows: int = Field(ge=0, description="Rows held out.")
    test_rows: int = Field(default=0, ge=0, description="Rows in the test split, which no choice is made on.")
    dropped: dict[str, int] = Field(
        default_factory=dict,
        max_length=16,
        description="Rows dropped, by reason: BadRow, Duplicate, Overlap, NearDuplicate, EmptyAnswer, TooLong, "
        "TooShort, CutOffAnswer, Profanity, Email, Secret.",
    )
    flagged: dict[str, int] = Field(
        default_factory=dict, max_length=16, description="Rows flagged and kept, by the same reasons."
    )
    tokens: int = Field(ge=0, description="Tokens of the training split.")
    lengths: Lengths | None = Field(default=None, description="Lengths of the rows that are kept, in tokens.")
    first_example: str | None = Field(
        default=None,
        max_length=1024,
        description="Beginning of the first row as the model sees it, without keys and e-mail addresses.",
    )
    report: str | None = Field(
        default=None, max_length=2048, description="URI of the report's page, to open in a browser."
    )
    format: DatasetFormat = Field(description="Format that was found, of the first source.")
    digest: Sha256 = Field(description="SHA-256 over the prepared splits.")
    prepared_by: str | None = Field(
        default=None,
        max_length=253,
        description="FineTuneJob of this namespace that had prepared the same sources with the same settings before; its "
        "rows are used.",
    )


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
    """One attempt at the training: a pod, or one on each of several nodes."""

    pod: str = Field(max_length=253, description="Name of the pod, of several the first one.")
    start_time: Timestamp | None = Field(default=None, description="When it started.")
    end_time: Timestamp | None = Field(default=None, description="When it ended.")
    reason: str | None = Field(default=None, max_length=64, description="How it ended.")
    checkpoint_step: int | None = Field(
        default=None, ge=0, description="Step of the newest complete checkpoint that it told of."
    )
    message: Message | None = Field(default=None, max_length=1024, description="What it said.")


class ArtifactStatus(ApiModel):
    """The registered artifact."""

    uri: StorageUri = Field(description="URI of the run's manifest.json.")
    manifest_sha256: Sha256 = Field(description="SHA-256 of manifest.json.")
    model_name: ModelName = Field(description="Name in the registry.")
    version: int = Field(ge=1, description="Version in the registry.")
    formats: tuple[ArtifactFormat, ...] = Field(max_length=3, description="Formats that the artifact has.")
    bytes: int = Field(ge=0, description="Size of all files in bytes.")


class FineTuneJobStatus(ApiModel):
    """What the operator observed. Conditions are the contract, phase is for people."""

    phase: Phase | None = Field(default=None, description="Summary for people; derived from the conditions.")
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        description="Accepted, DatasetReady, Running, ArtifactRegistered, Suspended, Complete, Failed, Published.",
    )
    observed_generation: int | None = Field(
        default=None, ge=0, description="metadata.generation that this status was computed for."
    )
    start_time: Timestamp | None = Field(default=None, description="When the job was accepted.")
    completion_time: Timestamp | None = Field(default=None, description="When the job completed or failed.")
    parent: Parent | None = Field(
        default=None,
        description="The earlier result that is trained on; what the spec names is looked up once.",
    )
    progress: Progress | None = Field(default=None, description="Progress of the training pod.")
    dataset: DatasetStatus | None = Field(default=None, description="What prepare found.")
    estimate: Estimate | None = Field(
        default=None, description="What the training will take, told before a GPU is asked for."
    )
    resolved: Resolved | None = Field(
        default=None, description="What was used where the spec leaves a choice."
    )
    attempts: tuple[AttemptStatus, ...] = Field(
        default=(), max_length=32, description="Training pods, oldest first."
    )
    trackers: TrackerStatuses | None = Field(
        default=None,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="Where the training is followed, each tracker once.",
    )
    validation: ValidationStatus | None = Field(
        default=None, description="What the validations while training have found."
    )
    evaluation: EvaluationStatus | None = Field(default=None, description="Held-out scores.")
    artifact: ArtifactStatus | None = Field(default=None, description="The registered artifact.")
    hub: HubStatus | None = Field(default=None, description="The artifact on the hub, once it is published.")
    carbon: EmissionsRecord | None = Field(
        default=None, description="Energy and emissions of the training pods."
    )

    @classmethod
    def upgraded(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the evaluation as a list of metrics."""
        return with_metrics(value, at="evaluation")

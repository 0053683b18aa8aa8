"""Condition types and the closed list of reasons, each with what it means for the reader.

`docs/conditions.md` is generated from this module. Messages say what is wrong and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from pydantic import Field

from modelgarden.api.base import ApiModel, Timestamp
from modelgarden.api.messages import Message
from modelgarden.api.redaction import redacted

ACCEPTED: Final = "Accepted"
DATASET_READY: Final = "DatasetReady"
RUNNING: Final = "Running"
ARTIFACT_REGISTERED: Final = "ArtifactRegistered"
COMPLETE: Final = "Complete"
FAILED: Final = "Failed"
SUSPENDED: Final = "Suspended"
PUBLISHED: Final = "Published"

READY: Final = "Ready"
MODEL_RESOLVED: Final = "ModelResolved"
PROGRESSING: Final = "Progressing"
DEGRADED: Final = "Degraded"

TYPES: Final[dict[str, dict[str, str]]] = {
    "FineTuneJob": {
        ACCEPTED: "The spec is valid; secret, buckets, dataset and base model are there.",
        DATASET_READY: "Every row was checked on a CPU pod; the splits are in storage.",
        RUNNING: "The training pod runs.",
        ARTIFACT_REGISTERED: "The artifact matches its manifest and has a version in the registry.",
        SUSPENDED: "spec.suspend is true: no pod runs.",
        COMPLETE: "Trained, evaluated and registered; of a dry run: the dataset is checked and prepared. Terminal.",
        FAILED: "Ended without an artifact. Terminal.",
        PUBLISHED: "The artifact is on the hub that output.hub names; a job is Complete before it is.",
    },
    "ModelDeployment": {
        ACCEPTED: "The spec is valid, and the secret can be read.",
        MODEL_RESOLVED: "The artifact to serve is known.",
        READY: "A replica answers for the wanted model.",
        PROGRESSING: "A revision is rolling out.",
        DEGRADED: "A revision or a pod has failed; what is active keeps serving.",
    },
}
"""Condition types of each kind and what True means."""

REASONS: Final[dict[str, str]] = {
    # Both kinds
    "Accepted": "The spec is valid; of a FineTuneJob, secret, buckets, dataset and a model in S3 or GCS are there too.",
    "InvalidSpec": "The spec does not fit this operator's schema; correct the field that the message names.",
    "SecretNotFound": "The credentials secret does not exist in the resource's namespace; create it.",
    "SecretInvalid": "A secret lacks a key, or a value has a line break or the like; the message names the key.",
    "AccessDenied": "Storage, hub, host or volume refuses the credentials or the action; the message says what to grant.",
    "BucketNotFound": "A bucket does not exist; create it, or name another (of a FineTuneJob: in a new one).",
    "ModelNotFound": "The base model is not at its source; upload it, or create a FineTuneJob with another source.",
    "DatasetNotFound": "The dataset is not at its source; upload it, or create a FineTuneJob with another source.",
    "EndpointInvalid": "No such service answers at the endpoint of S3 or GCS; correct it (of a FineTuneJob in a new one).",
    "StorageUnsafe": "Storage overlooks conditions of writes, which keep versions from overwriting each other; use another.",
    "StorageUnavailable": "Storage, hub or a dataset's host does not answer, is unknown or not trusted; see the message. "
    "Operator and pods keep trying with back-off, and training goes on meanwhile.",
    "UpgradeNeeded": "A newer version wrote what is to be read here; upgrade the image that the message names.",
    "ApplyRejected": "The API server refused a child object, or a Job's pod (quota, policy or admission); see the message.",
    "WaitingForFineTuneJob": "The FineTuneJob that the spec names has no registered artifact yet.",
    "FineTuneJobNotFound": "The FineTuneJob that the spec names does not exist yet.",
    "FineTuneJobFailed": "The FineTuneJob that the spec names has failed, or is a dry run.",
    "FormatNotFound": "The artifact has no 16-bit merge; add Merged16Bit to the output.formats of the job that makes it.",
    # FineTuneJob
    "VersionNotFound": "The registry has no such model, version or alias; the job goes on once it is registered.",
    "CircularReference": "The FineTuneJob waits for itself, by others that wait for it; create one with another model.",
    "Preparing": "The prepare Job checks and converts the dataset on a CPU.",
    "DatasetReady": "The dataset is prepared in storage.",
    "DatasetInvalid": "A row of the dataset is wrong; the message names line and field. Upload a corrected dataset.",
    "ModelInvalid": "The base model cannot be loaded; see the message.",
    "RewardFailed": "A reward raised, took too long or gave no number; the message names it. Correct its file or pattern.",
    "PrepareFailed": "The prepare Job failed for another reason; see its pod's log.",
    "Pending": "The training pod waits: for scheduling, its image or its start.",
    "Queued": "The Job's queue (Kueue) has no room for it yet, or holds it back; it starts by itself, with all its pods.",
    "Unschedulable": "No node can take the pod; the message is the scheduler's.",
    "StartFailed": "The node cannot start the pod's container; the message is the kubelet's.",
    "ImagePullFailed": "The container image cannot be pulled.",
    "Training": "The training pod runs.",
    "Retrying": "A pod ended early, see the message; the next one goes on, training at the newest checkpoint.",
    "Preempted": "The scheduler or a queue gave the training pod's place to another; it resumes at the newest checkpoint.",
    "Evicted": "The node or a drain ended the training pod; the next one resumes at the newest checkpoint.",
    "NodeLost": "The training pod's node is gone; the next pod resumes at the newest checkpoint, see the message.",
    "PeerLost": "A pod of a training on several nodes ended and said no more; all of them resume at the newest checkpoint.",
    "PeersMissing": "Of a training on several nodes not all pods came in time; the message names those that did not.",
    "Stalled": "The training process stopped working (stallTimeoutSeconds) and was ended; its log has its stacks.",
    "Diverged": "Loss or gradient is no number any more: try what the message says in a new job; checkpoints stay.",
    "TrainingFinished": "The training pod has ended.",
    "Registering": "The artifact is complete in storage and is being registered.",
    "Registered": "The artifact has a version in the registry.",
    "ArtifactInvalid": "The artifact does not match its manifest, or an earlier result what was registered.",
    "Succeeded": "Trained, evaluated and registered.",
    "DryRun": "spec.dryRun is true: the dataset is checked and prepared, and nothing is trained.",
    "InvalidConfiguration": "The trainer refused the configuration; see the message.",
    "DoesNotFit": "By its estimate the training fits no GPU of the nodes, or none has as many; it starts once one does.",
    "OutOfMemory": "Training does not fit the memory: of the GPU even one row at a time, or the pod's limit.",
    "BackoffLimitExceeded": "The training pod failed more often than backoffLimit allows.",
    "InterruptionLimitExceeded": "Training was interrupted interruptionLimit times without a newer checkpoint.",
    "DeadlineExceeded": "activeDeadlineSeconds has passed.",
    "TrainingFailed": "The training pod failed for another reason; see its log.",
    "Publishing": "The artifact is registered and on its way to the hub; nothing waits for it.",
    "Published": "The hub has the artifact; status.hub names the commit.",
    "PublishFailed": "The publish pod failed for another reason, see the message; it is tried again.",
    "Suspended": "spec.suspend is true: no pod runs.",
    "Resumed": "spec.suspend is false.",
    # ModelDeployment
    "Resolved": "The artifact to serve is known.",
    "RollingOut": "Pods of the wanted revision are starting.",
    "RolledOut": "Every replica serves the wanted revision.",
    "Serving": "The wanted model answers.",
    "NotServing": "No replica answers for the wanted model.",
    "ScaledToZero": "spec.replicas is 0.",
    "ProgressDeadlineExceeded": "The revision did not become ready in time and was rolled back.",
    "PodsFailing": "Pods of a revision crash or cannot start; see the message.",
    "Healthy": "Nothing is wrong.",
}

ConditionStatus = Literal["True", "False", "Unknown"]


@dataclass(frozen=True)
class Problem:
    """What is wrong, with a reason of the closed list and a message that says what to do."""

    reason: str
    message: str
    permanent: bool = False
    """Trying the same again can never help: the pod's own program says that its input is wrong."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", redacted(self.message))

    recheck_after: float | None = field(default=None, compare=False)
    """Seconds after which another look may find it mended, where an answer is kept until then."""


class Condition(ApiModel):
    """One observation of the resource's state (the fields of metav1.Condition)."""

    type: str = Field(max_length=64, description="Type of the condition.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    reason: str = Field(max_length=64, description="CamelCase reason from the documented list.")
    message: Message = Field(
        max_length=4096, description="What is so, and what to do where something is wrong."
    )
    observed_generation: Annotated[int, Field(ge=0)] = Field(
        description="metadata.generation that this condition was computed for."
    )
    last_transition_time: Timestamp = Field(description="When status last changed.")


def settled(new: Iterable[Condition], previous: Iterable[Condition]) -> tuple[Condition, ...]:
    """Return the new conditions, with the earlier transition time where the status did not flip."""
    since = {(before.type, before.status): before.last_transition_time for before in previous}
    return tuple(
        one.model_copy(
            update={"last_transition_time": since.get((one.type, one.status), one.last_transition_time)}
        )
        for one in new
    )

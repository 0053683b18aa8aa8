"""The status of a ModelDeployment: what the operator observed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelgarden.api.base import ApiModel, Decimal, ModelName, Sha256, StorageUri
from modelgarden.api.conditions import Condition
from modelgarden.api.emissions import CarbonState, EmissionsRecord
from modelgarden.api.messages import Message

Phase = Literal["Pending", "Blocked", "RollingOut", "Ready", "Degraded", "ScaledToZero"]


class RevisionStatus(ApiModel):
    """One revision: the hash of what was declared of the pods."""

    name: str = Field(max_length=63, description="Hash of the revision; suffix of its Deployment.")
    state: Literal["Progressing", "Active", "Retiring", "Failed"] = Field(
        description="Progressing: becoming ready. Active: serves. Retiring: is being replaced. Failed: was rolled back."
    )
    replicas: int = Field(ge=0, description="Pods wanted of this revision.")
    ready_replicas: int = Field(ge=0, description="Pods that answer for the wanted model.")
    message: Message | None = Field(default=None, max_length=1024, description="Why it failed.")


class ServedArtifact(ApiModel):
    """What is served."""

    uri: StorageUri = Field(description="Manifest or folder in storage.")
    sha256: Sha256 = Field(
        description="SHA-256 of the manifest, or of the folder's listing where there is none."
    )
    version: int | None = Field(default=None, ge=1, description="Version in the registry.")


class ServingCounters(ApiModel):
    """What one serving pod has counted, so that the totals outlive it."""

    id: str = Field(max_length=64, description="UID of the pod; earlier: the sum of pods that are gone.")
    idle_joules: int = Field(ge=0, description="Energy in joules while no tokens were generated.")
    generated_tokens: int = Field(ge=0, description="Tokens generated.")
    prompt_tokens: int = Field(ge=0, description="Prompt tokens processed.")
    state: CarbonState = Field(description="State of this pod's own record, with the zone that it was given.")


class ServingCarbon(ApiModel):
    """Energy and emissions of the serving pods, those that are gone included."""

    total: EmissionsRecord = Field(description="Energy and emissions since this resource was created.")
    idle_joules: int = Field(
        default=0, ge=0, description="Part of the energy in joules while no tokens were generated."
    )
    generated_tokens: int = Field(default=0, ge=0, description="Tokens generated.")
    prompt_tokens: int = Field(default=0, ge=0, description="Prompt tokens processed.")
    milligrams_per_1000_tokens: Decimal | None = Field(
        default=None,
        alias="milligramsPer1000Tokens",
        description="Milligrams of CO2 equivalent per 1,000 generated tokens, idle energy left out.",
    )
    pods: tuple[ServingCounters, ...] = Field(
        default=(), max_length=64, description="The counters that the sums count, as total.attempts."
    )


class ModelDeploymentStatus(ApiModel):
    """What the operator observed. Conditions are the contract, phase is for people."""

    phase: Phase | None = Field(default=None, description="Summary for people; derived from the conditions.")
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        description="Accepted, ModelResolved, Ready, Progressing, Degraded.",
    )
    observed_generation: int | None = Field(
        default=None, ge=0, description="metadata.generation that this status was computed for."
    )
    url: str | None = Field(
        default=None, max_length=512, description="URL of the OpenAI API inside the cluster."
    )
    served_model_name: ModelName | None = Field(default=None, description="Model name of the OpenAI API.")
    artifact: ServedArtifact | None = Field(default=None, description="What is served.")
    replicas: int | None = Field(
        default=None, ge=0, le=2_147_483_647, description="Pods that exist, for the scale subresource."
    )
    ready_replicas: int | None = Field(
        default=None, ge=0, description="Pods that answer for the wanted model."
    )
    selector: str | None = Field(
        default=None, max_length=512, description="Label selector, for the scale subresource."
    )
    revisions: tuple[RevisionStatus, ...] = Field(
        default=(), max_length=10, description="Revisions, newest first."
    )
    carbon: ServingCarbon | None = Field(
        default=None, description="Energy and emissions of the serving pods."
    )

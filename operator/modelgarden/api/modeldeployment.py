"""ModelDeployment: serve a registered artifact or a model folder in S3 with vLLM."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from modelgarden.api.base import ApiModel, Decimal, ModelName, Rule, S3Uri, Sha256
from modelgarden.api.common import Carbon, LocalReference, PodTemplate, Resources, Storage, exactly_one
from modelgarden.api.conditions import Condition
from modelgarden.api.emissions import CarbonState, EmissionsRecord

KIND: Final = "ModelDeployment"
PLURAL: Final = "modeldeployments"

Phase = Literal["Pending", "Blocked", "RollingOut", "Ready", "Degraded", "ScaledToZero"]


class ModelSource(ApiModel):
    """What to serve: exactly one of the fields."""

    fine_tune_job_ref: LocalReference | None = Field(
        default=None,
        description="FineTuneJob in the same namespace whose artifact is served. Its end is waited for, so both can be "
        "applied at once. Default: none.",
    )
    source: S3Uri | None = Field(
        default=None,
        description="s3://bucket/prefix: a run of a FineTuneJob (checked against its manifest.json) or a Hugging Face "
        "folder. Default: none.",
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (exactly_one("fineTuneJobRef", "source"),)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.fine_tune_job_ref is None) == (self.source is None):
            raise ValueError("exactly one of fineTuneJobRef, source must be set")
        return self


class EngineArgs(ApiModel):
    """vLLM's arguments that this API knows. Others go into extraArgs."""

    max_model_len: Annotated[int, Field(ge=16, le=10_485_760)] | None = Field(
        default=None, description="Longest sequence in tokens (--max-model-len). Default: the model's."
    )
    gpu_memory_utilization: Annotated[float, Field(ge=0.05, le=1.0)] | None = Field(
        default=None,
        description="Share of the GPU's memory for vLLM (--gpu-memory-utilization). Default: vLLM's, 0.92.",
    )
    max_num_seqs: Annotated[int, Field(ge=1, le=65536)] | None = Field(
        default=None, description="Most sequences in one batch (--max-num-seqs). Default: vLLM's."
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        default="auto", description="Type of weights and activations (--dtype). Default: auto, the model's."
    )
    enforce_eager: bool = Field(
        default=False,
        description="Skip compilation and CUDA graphs for a fast start (--enforce-eager). Default: false.",
    )


# Flags that the operator sets itself, or that would break its contract with the pod.
_RESERVED = "model|served-model-name|host|port|uds|shutdown-timeout|ssl-[a-z-]+|root-path|api-key"
EXTRA_ARG_PATTERN = r"^--[a-z0-9][a-z0-9.-]*(=[^\n\r]*)?$"
RESERVED_ARG_PATTERN = rf"^--({_RESERVED})(=.*)?$"

ExtraArg = Annotated[str, Field(pattern=EXTRA_ARG_PATTERN, max_length=1024)]


class Engine(ApiModel):
    """The serving engine, vLLM."""

    args: EngineArgs = Field(default=EngineArgs(), description="Arguments that this API knows.")
    extra_args: tuple[ExtraArg, ...] = Field(
        default=(),
        max_length=64,
        description="Further arguments of vllm serve, each as --name or --name=value. Default: none.",
    )


class Rollout(ApiModel):
    """How a new revision replaces the old one."""

    strategy: Literal["RollingUpdate"] = Field(
        default="RollingUpdate",
        description="RollingUpdate: one pod more than replicas while it can be scheduled, else one pod is replaced "
        "at a time. Default: RollingUpdate.",
    )
    progress_deadline_seconds: Annotated[int, Field(ge=10, le=86_400)] = Field(
        default=1800,
        description="Seconds without progress after which a new revision is rolled back. Default: 1800.",
    )


class ModelDeploymentSpec(ApiModel):
    """What to serve, and with how much."""

    model: ModelSource = Field(description="What to serve.")
    served_model_name: ModelName | None = Field(
        default=None, description="Model name of the OpenAI API. Default: the name of this resource."
    )
    engine: Engine = Field(default=Engine(), description="The serving engine, vLLM.")
    replicas: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=1, description="Number of serving pods. Default: 1."
    )
    resources: Resources = Field(default=Resources(), description="Compute of one serving pod.")
    pod_template: PodTemplate = Field(
        default_factory=PodTemplate, description="What is added to the serving pods."
    )
    rollout: Rollout = Field(default=Rollout(), description="How a new revision replaces the old one.")
    storage: Storage = Field(default=Storage(), description="How to reach S3.")
    carbon: Carbon = Field(default=Carbon(), description="What emissions are computed with.")

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule=f"!self.engine.extraArgs.exists(a, a.matches('{RESERVED_ARG_PATTERN}'))",
            message="engine.extraArgs must not set what the operator sets: model, served-model-name, host, port, uds, "
            "shutdown-timeout, ssl-*, root-path, api-key",
            field_path=".engine.extraArgs",
        ),
    )

    @model_validator(mode="after")
    def _no_reserved_arguments(self) -> Self:
        for argument in self.engine.extra_args:
            if re.match(RESERVED_ARG_PATTERN, argument):
                raise ValueError(
                    f"engine.extraArgs must not set {argument.split('=')[0]}, which the operator sets"
                )
        return self


class RevisionStatus(ApiModel):
    """One revision: the hash of what reaches the pods."""

    name: str = Field(max_length=63, description="Hash of the revision; suffix of its Deployment.")
    state: Literal["Progressing", "Active", "Retiring", "Failed"] = Field(
        description="Progressing: becoming ready. Active: serves. Retiring: is being replaced. Failed: was rolled back."
    )
    replicas: int = Field(ge=0, description="Pods wanted of this revision.")
    ready_replicas: int = Field(ge=0, description="Pods that answer for the wanted model.")
    message: str | None = Field(default=None, max_length=1024, description="Why it failed.")


class ServedArtifact(ApiModel):
    """What is served."""

    uri: S3Uri = Field(description="Manifest or folder in S3.")
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

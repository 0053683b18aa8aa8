"""Parts that the specs of both kinds share: storage, resources, the pods' template, carbon."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from modelgarden.api.base import ApiModel, DnsLabel, Quantity, Rule
from modelgarden.api.zones import ZONES


def _known_zone(zone: str) -> str:
    if zone not in ZONES:
        raise ValueError(f"zone {zone!r} has no known carbon intensity; use an ISO 3166-1 alpha-3 code")
    return zone


Zone = Annotated[str, AfterValidator(_known_zone), Field(json_schema_extra={"enum": list(ZONES)})]

SECRET_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
OPTIONAL_SECRET_KEYS = ("AWS_SESSION_TOKEN",)


class LocalReference(ApiModel):
    """A reference to an object in the same namespace."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", min_length=1, max_length=253)] = (
        Field(description="Name of the object.")
    )


class Storage(ApiModel):
    """How to reach the S3 service. Without credentials the pods' service account is used (IRSA, workload identity)."""

    endpoint: (
        Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?$", max_length=256)] | None
    ) = Field(default=None, description="URL of the S3 service. Default: AWS.")
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$", max_length=64)] = Field(
        default="us-east-1", description="Region of the S3 service. Default: us-east-1."
    )
    credentials_secret_ref: LocalReference | None = Field(
        default=None,
        description="Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN if needed). "
        "Default: the service account of the pods and of the operator.",
    )


class Resources(ApiModel):
    """Compute of one pod. GPUs are requested as nvidia.com/gpu."""

    gpus: Annotated[int, Field(ge=0, le=16)] = Field(
        default=1, description="Number of GPUs (nvidia.com/gpu). 0 runs on the CPU. Default: 1."
    )
    cpu: Quantity = Field(default="4", description="CPU request in cores. Default: 4.")
    memory: Quantity = Field(default="16Gi", description="Memory request and limit in bytes. Default: 16Gi.")


LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$", max_length=63)]


class Toleration(ApiModel):
    """A toleration of a node's taint, as in a Pod's spec."""

    key: Annotated[str, Field(max_length=317)] | None = Field(
        default=None, description="Taint key. Empty with operator Exists tolerates every taint."
    )
    operator: Literal["Exists", "Equal"] = Field(
        default="Equal", description="Exists or Equal. Default: Equal."
    )
    value: LabelValue | None = Field(default=None, description="Taint value for Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Taint effect. Default: all effects."
    )


class PodTemplate(ApiModel):
    """What is added to the pods that the operator makes."""

    labels: dict[str, LabelValue] = Field(
        default_factory=dict,
        max_length=32,
        description="Labels of the Jobs, Deployments and pods, such as a Kueue queue name.",
    )
    annotations: dict[str, Annotated[str, Field(max_length=4096)]] = Field(
        default_factory=dict, max_length=32, description="Annotations of the pods."
    )
    node_selector: dict[str, LabelValue] = Field(
        default_factory=dict, max_length=16, description="Labels that a node must have."
    )
    tolerations: tuple[Toleration, ...] = Field(
        default=(), max_length=16, description="Taints that the pods tolerate."
    )
    priority_class_name: DnsLabel | None = Field(default=None, description="PriorityClass of the pods.")
    runtime_class_name: DnsLabel | None = Field(default=None, description="RuntimeClass of the pods.")
    service_account_name: DnsLabel | None = Field(
        default=None,
        description="Service account of the pods. Default: the namespace's default, without its token.",
    )
    image_pull_secrets: tuple[LocalReference, ...] = Field(
        default=(), max_length=8, description="Secrets with registry credentials."
    )


class Carbon(ApiModel):
    """What emissions are computed with."""

    zone: Zone | None = Field(
        default=None,
        description="ISO 3166-1 alpha-3 code of the electricity zone. Default: the operator's zone; "
        "without any, energy is recorded and emissions are left out.",
    )
    pue: Annotated[float, Field(ge=1.0, le=5.0)] | None = Field(
        default=None,
        description="Power usage effectiveness of the site, the ratio of facility to IT energy. Default: the operator's, 1.0.",
    )


def exactly_one(*names: str) -> Rule:
    """Return the CEL rule that exactly one of the fields is set."""
    terms = " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in names)
    return Rule(rule=f"{terms} == 1", message=f"exactly one of {', '.join(names)} must be set")

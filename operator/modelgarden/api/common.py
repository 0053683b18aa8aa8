"""Parts that the specs of both kinds share: resources, the pods' template, carbon."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from modelgarden.api.access import LocalReference
from modelgarden.api.base import (
    LABEL_KEY_PATTERN,
    ApiModel,
    DnsSubdomain,
    LabelKey,
    LabelValue,
    Quantity,
    Rule,
    amount,
)
from modelgarden.api.names import GROUP, MANAGED_BY_LABEL
from modelgarden.api.zones import ZONES


def _known_zone(zone: str) -> str:
    if zone not in ZONES:
        raise ValueError(f"zone {zone!r} has no known carbon intensity; use an ISO 3166-1 alpha-3 code")
    return zone


Zone = Annotated[str, AfterValidator(_known_zone), Field(json_schema_extra={"enum": list(ZONES)})]

MOST: Final[Mapping[str, str]] = {"cpu": "4096", "memory": "64Ti"}
"""Twice what the largest nodes of the clouds have (AWS u7inh-32tb: 1,920 vCPUs, 32 TiB): more is a slip, such as cpu: 1Gi
for a billion cores."""
_WRITTEN: Final = {"cpu": "in cores, 4 or 500m", "memory": "in bytes, 16Gi"}


def within(minimum: Mapping[str, str]) -> tuple[Rule, ...]:
    """Return the CEL rules that CPU and memory have a minimum, and the maximum of all."""
    # The API server asks them of the object's own default too, before those of its fields are filled in.
    return (
        *(_bound(name, ">=", smallest, _too_little(name, smallest)) for name, smallest in minimum.items()),
        *(_bound(name, "<=", largest, _too_much(name, largest)) for name, largest in MOST.items()),
    )


def require_within(minimum: Mapping[str, str], given: Mapping[str, int | str | None]) -> None:
    """Hold the rules of `within`.

    Raises:
        ValueError: a quantity is less or more.
    """
    for name, quantity in given.items():
        if quantity is None:
            continue
        if amount(quantity) < amount(minimum[name]):
            raise ValueError(_too_little(name, minimum[name]))
        if amount(quantity) > amount(MOST[name]):
            raise ValueError(_too_much(name, MOST[name]))


def _bound(name: str, comparison: str, bound: str, message: str) -> Rule:
    compared = f"quantity(string(self.{name})).compareTo(quantity('{bound}')) {comparison} 0"
    return Rule(rule=f"!has(self.{name}) || {compared}", message=message, field_path=f".{name}")


def _too_little(name: str, smallest: str) -> str:
    return f"{name} must be at least {smallest}: the program does not start with less"


def _too_much(name: str, largest: str) -> str:
    return f"{name} must be at most {largest}: no node has more; it is written {_WRITTEN[name]}"


_NODES_WITHOUT_GPUS = (
    "the GPUs of several nodes share a training; set resources.gpus to at least 1, or nodes to 1"
)


class Resources(ApiModel):
    """Compute of one pod. GPUs are requested as nvidia.com/gpu."""

    gpus: Annotated[int, Field(ge=0, le=16)] = Field(
        default=1, description="Number of GPUs (nvidia.com/gpu). 0 runs on the CPU. Default: 1."
    )
    cpu: Quantity = Field(default="4", description="CPU request in cores. Default: 4.")
    memory: Quantity = Field(default="16Gi", description="Memory request and limit in bytes. Default: 16Gi.")

    minimum: ClassVar[Mapping[str, str]] = {"cpu": "100m", "memory": "1Gi"}
    """What vLLM needs to come up at all; a model takes more."""
    cel_rules: ClassVar[tuple[Rule, ...]] = within(minimum)

    @model_validator(mode="after")
    def _is_between_minimum_and_maximum(self) -> Self:
        require_within(self.minimum, {"cpu": self.cpu, "memory": self.memory})
        return self


class TrainingResources(Resources):
    """Compute of a training pod."""

    gpus: Annotated[int, Field(ge=0, le=16)] = Field(
        default=1,
        description="Number of GPUs (nvidia.com/gpu) of one node. Each has a process with the whole model; they share "
        "the rows of every step, and training.effectiveBatchSize counts those of all. 0 trains on the CPU. Default: 1.",
    )
    nodes: Annotated[int, Field(ge=1, le=16)] = Field(
        default=1,
        description="Number of pods, each with these gpus, cpu and memory, as a rule on a node of its own. Their GPUs share "
        "the rows of every step; they start, end and are tried again together. Default: 1.",
    )

    minimum: ClassVar[Mapping[str, str]] = {"cpu": "100m", "memory": "512Mi"}
    """What the trainer needs to come up at all; a model takes more."""
    cel_rules: ClassVar[tuple[Rule, ...]] = (
        *within(minimum),
        # The API server tries rules on the default of this object, without the defaults of its fields.
        Rule(
            rule="!has(self.nodes) || self.nodes == 1 || self.gpus > 0",
            message=_NODES_WITHOUT_GPUS,
            field_path=".nodes",
        ),
    )

    @model_validator(mode="after")
    def _nodes_have_gpus(self) -> Self:
        if self.nodes > 1 and self.gpus == 0:
            raise ValueError(_NODES_WITHOUT_GPUS)
        return self

    @property
    def processes(self) -> int:
        """GPUs of all nodes, each with a process; without GPUs there is one."""
        return max(1, self.gpus) * self.nodes


class Toleration(ApiModel):
    """A toleration of a node's taint, as in a Pod's spec."""

    key: LabelKey | None = Field(
        default=None,
        description="Taint key. Default: none, which with operator Exists tolerates every taint.",
    )
    operator: Literal["Exists", "Equal"] = Field(
        default="Equal", description="Exists or Equal. Default: Equal."
    )
    value: LabelValue | None = Field(default=None, description="Taint value for Equal. Default: empty.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Taint effect. Default: all effects."
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="has(self.key) || self.operator == 'Exists'",
            message="a toleration without a key must have operator Exists",
            field_path=".operator",
        ),
        Rule(
            rule="self.operator == 'Equal' || !has(self.value) || self.value == ''",
            message="a toleration with operator Exists must have no value",
            field_path=".value",
        ),
    )

    @model_validator(mode="after")
    def _as_kubernetes_takes_it(self) -> Self:
        if self.key is None and self.operator != "Exists":
            raise ValueError("a toleration without a key must have operator Exists")
        if self.operator == "Exists" and self.value:
            raise ValueError("a toleration with operator Exists must have no value")
        return self


# A CRD has no word for the keys of a map, so a rule holds what a child object would be refused for.
_KEYED = ("labels", "annotations", "nodeSelector")
_OPERATORS_OWN = ("labels", "annotations")
_CONTROLLERS_LABELS = ("controller-uid", "job-name", "pod-template-hash")
_JOB_LABELS = "batch.kubernetes.io/"
_CONTROLLERS_OWN = (
    f"labels must not set {', '.join(_CONTROLLERS_LABELS)} or {_JOB_LABELS}*, which Kubernetes sets"
)


class PodTemplate(ApiModel):
    """What is added to the pods that the operator makes."""

    labels: dict[str, LabelValue] = Field(
        default_factory=dict,
        max_length=32,
        description="Labels of the Jobs, Deployments and pods, such as a Kueue queue name. Default: none.",
    )
    annotations: dict[str, Annotated[str, Field(max_length=4096)]] = Field(
        default_factory=dict, max_length=32, description="Annotations of the pods. Default: none."
    )
    node_selector: dict[str, LabelValue] = Field(
        default_factory=dict, max_length=16, description="Labels that a node must have. Default: none."
    )
    tolerations: tuple[Toleration, ...] = Field(
        default=(), max_length=16, description="Taints that the pods tolerate. Default: none."
    )
    priority_class_name: DnsSubdomain | None = Field(
        default=None, description="PriorityClass of the pods. Default: the cluster's."
    )
    runtime_class_name: DnsSubdomain | None = Field(
        default=None, description="RuntimeClass of the pods. Default: the node's."
    )
    service_account_name: DnsSubdomain | None = Field(
        default=None,
        description="Service account of the pods. Default: the namespace's default, without its token.",
    )
    image_pull_secrets: tuple[LocalReference, ...] = Field(
        default=(), max_length=8, description="Secrets with registry credentials. Default: none."
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        *(
            Rule(
                rule=f"!has(self.{field}) || self.{field}.all(key, key.size() <= 317 "
                f"&& key.matches('{LABEL_KEY_PATTERN}'))",
                message=f"a key of {field} must be of the form name or prefix/name, as Kubernetes takes it",
                field_path=f".{field}",
            )
            for field in _KEYED
        ),
        *(
            Rule(
                rule=f"!has(self.{field}) || self.{field}.all(key, !key.startsWith('{GROUP}/') "
                f"&& key != '{MANAGED_BY_LABEL}')",
                message=f"{field} must not set {GROUP}/* or {MANAGED_BY_LABEL}, which the operator sets",
                field_path=f".{field}",
            )
            for field in _OPERATORS_OWN
        ),
        Rule(
            rule=f"!has(self.labels) || self.labels.all(key, !(key in {list(_CONTROLLERS_LABELS)}) "
            f"&& !key.startsWith('{_JOB_LABELS}'))",
            message=_CONTROLLERS_OWN,
            field_path=".labels",
        ),
    )

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        for field, keys in zip(_KEYED, (self.labels, self.annotations, self.node_selector), strict=True):
            for key in keys:
                if len(key) > 317 or not re.fullmatch(LABEL_KEY_PATTERN.removesuffix("$"), key):
                    raise ValueError(f"key {key!r} of {field} must be of the form name or prefix/name")
                if field in _OPERATORS_OWN and (key.startswith(f"{GROUP}/") or key == MANAGED_BY_LABEL):
                    raise ValueError(f"{field} must not set {key}, which the operator sets")
        return self

    @model_validator(mode="after")
    def _labels_of_controllers_are_left_alone(self) -> Self:
        if any(key in _CONTROLLERS_LABELS or key.startswith(_JOB_LABELS) for key in self.labels):
            raise ValueError(_CONTROLLERS_OWN)
        return self


class Carbon(ApiModel):
    """What emissions are computed with."""

    zone: Zone | None = Field(
        default=None,
        description="ISO 3166-1 alpha-3 code of the electricity zone. Default: the operator's zone; "
        "without any, energy is recorded and emissions are left out.",
    )
    pue: Annotated[float, Field(ge=1.0, le=5.0)] | None = Field(
        default=None,
        description="Power usage effectiveness of the site, the ratio of facility to IT energy. "
        "Default: the operator's, 1.0.",
    )


def exactly_one(*names: str) -> Rule:
    """Return the CEL rule that exactly one of the fields is set."""
    terms = " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in names)
    return Rule(rule=f"{terms} == 1", message=f"exactly one of {', '.join(names)} must be set")

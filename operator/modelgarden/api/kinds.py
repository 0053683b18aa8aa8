"""The one table of the kinds: what the CRDs, the chart's rules, watch, cache and sink read. A new kind is one entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelgarden.api import names
from modelgarden.api.base import ApiModel
from modelgarden.api.finetunejob import FineTuneJobSpec, FineTuneJobStatus
from modelgarden.api.modeldeployment import ModelDeploymentSpec, ModelDeploymentStatus


@dataclass(frozen=True)
class Column:
    """One column of `kubectl get`; a wide one is shown with `-o wide` only."""

    name: str
    json_path: str
    description: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True)
class Reference:
    """A field of a spec that names objects of one of our kinds in the same namespace."""

    kind: str
    path: tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """One kind of this operator."""

    name: str
    plural: str
    short_name: str
    description: str
    spec: type[ApiModel]
    status: type[ApiModel]
    label: str
    """Label of children that names their owner, by which their pods are found."""
    children: tuple[str, ...]
    """Kubernetes' kinds of the objects that are made for it, or that those make, and that are watched."""
    columns: tuple[Column, ...]
    references: tuple[Reference, ...] = ()
    """What else of ours an object is reconciled for when it changes."""
    scale: bool = False
    """Whether it has the scale subresource."""

    @property
    def expires(self) -> bool:
        """Tell whether the operator deletes objects of this kind some time after their end."""
        return "ttl_seconds_after_finished" in self.spec.model_fields

    def referred(self, spec: Mapping[str, Any]) -> set[tuple[str, str]]:
        """Return kind and name of what a spec refers to, as far as a spec that nobody has checked says it."""
        found = set()
        for reference in self.references:
            node: Any = spec
            for name in (*reference.path, "name"):
                node = node.get(name) if isinstance(node, Mapping) else None
            if node:
                found.add((reference.kind, node))
        return found


_AGE: Final = Column("Age", ".metadata.creationTimestamp", "Time since creation.", type="date")

FINETUNEJOB: Final = Kind(
    name="FineTuneJob",
    plural="finetunejobs",
    short_name="ftj",
    description="Tunes a base model on a dataset and registers the artifact in S3 or GCS.",
    spec=FineTuneJobSpec,
    status=FineTuneJobStatus,
    label=names.FINETUNEJOB_LABEL,
    children=("Job", "Pod", "Service"),
    columns=(
        Column("Phase", ".status.phase", "Summary of the conditions."),
        Column("Progress", ".status.progress.percent", "Percent of the steps.", type="integer"),
        Column("Model", ".spec.model.source", "Base model."),
        Column("Method", ".spec.method", "LoRA, QLoRA or Full."),
        Column("Version", ".status.artifact.version", "Version in the registry.", type="integer"),
        Column("Artifact", ".status.artifact.uri", "Manifest of the artifact.", wide=True),
        Column(
            "Parent", ".status.parent.uri", "Manifest of the earlier result that is trained on.", wide=True
        ),
        Column("Hub", ".status.hub.url", "Page of the artifact on the hub, once published.", wide=True),
        Column("Energy(J)", ".status.carbon.energyJoules.total", "Joules.", type="integer", wide=True),
        Column("CO2(mg)", ".status.carbon.emissionsMilligrams", "Milligrams.", type="integer", wide=True),
        _AGE,
    ),
    references=(Reference("FineTuneJob", ("model", "fineTuneJobRef")),),
)

MODELDEPLOYMENT: Final = Kind(
    name="ModelDeployment",
    plural="modeldeployments",
    short_name="mdep",
    description="Serves a registered artifact or a model folder in S3 or GCS with vLLM.",
    spec=ModelDeploymentSpec,
    status=ModelDeploymentStatus,
    label=names.MODELDEPLOYMENT_LABEL,
    children=("Deployment", "Pod", "Service"),
    columns=(
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status', "Whether the wanted model answers."),
        Column("Replicas", ".status.readyReplicas", "Pods that answer for the wanted model.", type="integer"),
        Column("Model", ".status.servedModelName", "Model name of the OpenAI API."),
        Column("URL", ".status.url", "URL of the OpenAI API inside the cluster."),
        Column("Phase", ".status.phase", "Summary of the conditions."),
        Column("Version", ".status.artifact.version", "Served version.", type="integer", wide=True),
        Column("Energy(J)", ".status.carbon.total.energyJoules.total", "Joules.", type="integer", wide=True),
        Column(
            "CO2(mg)", ".status.carbon.total.emissionsMilligrams", "Milligrams.", type="integer", wide=True
        ),
        _AGE,
    ),
    references=(Reference("FineTuneJob", ("model", "fineTuneJobRef")),),
    scale=True,
)

KINDS: Final = (FINETUNEJOB, MODELDEPLOYMENT)
BY_NAME: Final = {kind.name: kind for kind in KINDS}

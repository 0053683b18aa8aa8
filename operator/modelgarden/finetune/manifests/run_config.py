"""The configuration that the pods that prepare and train are given, and the version that it says it has."""

from __future__ import annotations

from typing import Final

from modelgarden.api.finetunejob import STALL_TIMEOUT_SECONDS, Objective, Trackers, Vision
from modelgarden.api.layout import datasets_uri, in_gcs
from modelgarden.api.pods import PodDataset, PodGroup, PodStorage, RunConfig
from modelgarden.carbon.factors import carbon_factors
from modelgarden.finetune.manifests.jobs import job_name
from modelgarden.finetune.programs import TRAIN
from modelgarden.finetune.subject import Subject
from modelgarden.settings import Settings
from modelgarden.workloads.endings import Program
from modelgarden.workloads.indexed import host_of

_FOURTH_KNOWS: Final = 2
"""Minor version of the second and third, with all of which the fourth major version came."""
_FIFTH_KNOWS: Final = 5
"""The same of the fifth."""


def run_config(subject: Subject, settings: Settings, program: Program) -> RunConfig:
    """Return the configuration of a prepare or a training pod."""
    spec, trains = subject.spec, program == TRAIN
    return RunConfig(
        schema_version=_schema_version(subject),
        run=subject.run,
        run_uri=str(subject.folder),
        model_source=subject.base,
        model_revision=spec.model.revision,
        parent=subject.status.parent,
        method=spec.method,
        vision=(spec.vision or Vision()) if spec.modality == "Vision" else None,
        objective=spec.objective,
        dataset=PodDataset.of(spec.dataset),
        allowed_hosts=settings.dataset_allowed_hosts,
        dry_run=spec.dry_run,
        training=spec.training,
        formats=spec.output.formats,
        gguf=spec.output.gguf,
        model_name=spec.output.model_name,
        hub=spec.output.hub,
        checkpoint=spec.checkpoint,
        stall_timeout_seconds=spec.stall_timeout_seconds,
        evaluation=spec.evaluation,
        storage=PodStorage.of(spec.storage),
        datasets_uri=datasets_uri(spec.output.uri, namespace=subject.namespace),
        carbon=carbon_factors(spec.carbon, settings),
        trackers=spec.trackers if spec.trackers != Trackers() else None,
        gpus=spec.resources.gpus if trains else 0,
        group=_group(subject, settings) if trains else None,
        image=settings.train_image,
    )


def _schema_version(subject: Subject) -> str:
    """Return the lowest version of the configuration that says all that a job needs."""
    spec = subject.spec
    seventh = (
        spec.modality != "Text",
        spec.output.hub is not None,
        spec.resources.nodes > 1,
        spec.training.rope_scaling is not None,
    )
    if any(seventh):
        return "7.0"
    if spec.objective.grpo is not None:
        return "6.0"
    needs = {
        9: "GGUF" in spec.output.formats,
        8: spec.stall_timeout_seconds != STALL_TIMEOUT_SECONDS,
        7: spec.training.optimizer != "AdamW",
        6: spec.training.validation is not None,
        5: spec.trackers.wandb is not None,
        4: spec.trackers.mlflow is not None,
        3: spec.objective != Objective(),
        2: spec.trackers.tensorboard is not None,
        1: subject.status.parent is not None,
    }
    minor = next((minor for minor, needed in needs.items() if needed), 0)
    if any(map(in_gcs, (subject.base, spec.output.uri, *spec.data))):
        return f"5.{max(0, minor - _FIFTH_KNOWS)}"
    if not spec.training.of_first_form:
        return f"4.{max(0, minor - _FOURTH_KNOWS)}"
    return f"{3 if spec.dataset.validation_sources else 2}.{minor}"


def _group(subject: Subject, settings: Settings) -> PodGroup | None:
    """Return how the pods of several nodes find each other, None for a training on one."""
    if subject.spec.resources.nodes == 1:
        return None
    service = job_name(subject.name, TRAIN)
    host = host_of(service, 0, namespace=subject.namespace, domain=settings.cluster_domain)
    return PodGroup(nodes=subject.spec.resources.nodes, host=host)

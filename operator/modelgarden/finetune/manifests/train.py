"""`<name>-train`: trains, evaluates and uploads. Of several nodes it has a Service."""

from __future__ import annotations

from typing import Any

from modelgarden.api import names
from modelgarden.finetune.manifests.environment import run_environment
from modelgarden.finetune.manifests.jobs import job_name, job_of
from modelgarden.finetune.programs import TRAIN
from modelgarden.finetune.subject import Subject
from modelgarden.settings import Settings
from modelgarden.workloads.indexed import grouped, headless_service


def train_job(subject: Subject, settings: Settings) -> dict[str, Any]:
    """Return the Job that trains, evaluates and uploads; of several nodes it is one attempt."""
    resources, limit = subject.spec.resources, subject.spec.backoff_limit
    environment = run_environment(subject, settings, TRAIN)
    job = job_of(subject, settings, TRAIN, resources, environment=environment, backoff_limit=limit)
    if resources.nodes == 1:
        return job
    return grouped(job, nodes=resources.nodes, service=train_service(subject))


def train_objects(subject: Subject, settings: Settings) -> tuple[dict[str, Any], ...]:
    """Return all that a training takes: its Job, before it the Service by which several nodes find each other."""
    job = train_job(subject, settings)
    return (train_service(subject), job) if subject.spec.resources.nodes > 1 else (job,)


def train_service(subject: Subject) -> dict[str, Any]:
    """Return the headless Service that gives the pods of several nodes their names."""
    return headless_service(
        subject.namespace,
        job_name(subject.name, TRAIN),
        labels={names.FINETUNEJOB_LABEL: subject.name, names.STEP_LABEL: TRAIN.container},
    )

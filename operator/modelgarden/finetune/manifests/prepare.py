"""`<name>-prepare`: checks and converts the dataset, on a CPU."""

from __future__ import annotations

from typing import Any, Final

from modelgarden.api import names
from modelgarden.finetune.manifests.environment import run_environment
from modelgarden.finetune.manifests.jobs import job_of
from modelgarden.finetune.programs import PREPARE
from modelgarden.finetune.subject import Subject
from modelgarden.kube.quantities import smaller
from modelgarden.settings import Settings

PREPARE_BACKOFF_LIMIT: Final = 2
PREPARE_CPU: Final = "500m"
PREPARE_MEMORY: Final = "2Gi"


def prepare_job(subject: Subject, settings: Settings, *, inputs_hash: str) -> dict[str, Any]:
    """Return the Job that checks and converts the dataset, on a CPU."""
    training, asked = subject.spec.resources, subject.spec.dataset.resources
    resources = training.model_copy(
        update={
            "gpus": 0,
            "cpu": asked.cpu or smaller(training.cpu, PREPARE_CPU),
            "memory": asked.memory or smaller(training.memory, PREPARE_MEMORY),
        }
    )
    environment = run_environment(subject, settings, PREPARE)
    job = job_of(
        subject, settings, PREPARE, resources, environment=environment, backoff_limit=PREPARE_BACKOFF_LIMIT
    )
    job["metadata"]["annotations"] = {names.INPUTS_HASH_ANNOTATION: inputs_hash}
    return job

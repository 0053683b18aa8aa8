"""`<name>-publish`: brings the registered artifact to the hub, on a CPU."""

from __future__ import annotations

from typing import Any, Final

from modelgarden.api import names
from modelgarden.api.emissions import EmissionsRecord, folded
from modelgarden.api.finetunejob import ArtifactStatus
from modelgarden.api.pods import PodStorage, PublishConfig
from modelgarden.finetune.manifests.environment import WITHOUT_GPUS
from modelgarden.finetune.manifests.jobs import job_of
from modelgarden.finetune.manifests.prepare import PREPARE_CPU, PREPARE_MEMORY
from modelgarden.finetune.programs import PUBLISH
from modelgarden.finetune.subject import Subject
from modelgarden.kube.quantities import smaller
from modelgarden.settings import Settings
from modelgarden.workloads import podspec

PUBLISH_BACKOFF_LIMIT: Final = 2
_MOST_TOLD_ATTEMPTS: Final = 8
"""Of the emissions that a publish pod is told, so that its configuration stays small; the others are summed into one."""


def publish_job(
    subject: Subject, settings: Settings, artifact: ArtifactStatus, *, inputs_hash: str
) -> dict[str, Any]:
    """Return the Job that brings a registered artifact to the hub, on a CPU.

    Raises:
        ValueError: the spec names no hub.
    """
    hub, training = subject.spec.output.hub, subject.spec.resources
    if hub is None:
        raise ValueError("the spec names no hub")
    carbon = subject.status.carbon
    config = PublishConfig(
        run=subject.run,
        run_uri=str(subject.folder),
        model_name=artifact.model_name,
        version=artifact.version,
        manifest_sha256=artifact.manifest_sha256,
        hub=hub,
        storage=PodStorage.of(subject.spec.storage),
        emissions=carbon and _short(carbon),
    )
    resources = training.model_copy(
        update={
            "gpus": 0,
            "cpu": smaller(training.cpu, PREPARE_CPU),
            "memory": smaller(training.memory, PREPARE_MEMORY),
        }
    )
    token = hub.token_secret_ref.name
    environment = [
        *podspec.environment(config),
        *podspec.credentials(subject.spec.storage),
        podspec.secret_variable(token, names.HUB_TOKEN_KEY, variable=names.OUTPUT_TOKEN_VARIABLE),
        {"name": "HOME", "value": podspec.WORKSPACE},
        *WITHOUT_GPUS,
    ]
    job = job_of(
        subject, settings, PUBLISH, resources, environment=environment, backoff_limit=PUBLISH_BACKOFF_LIMIT
    )
    job["metadata"]["annotations"] = {names.INPUTS_HASH_ANNOTATION: inputs_hash}
    return job


def _short(record: EmissionsRecord) -> EmissionsRecord:
    return record.model_copy(update={"attempts": folded(record.attempts, most=_MOST_TOLD_ATTEMPTS)})

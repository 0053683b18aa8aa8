"""What a plan is made from: what was seen of the Jobs, the inputs in S3, the pods' reports and the registry."""

from __future__ import annotations

from dataclasses import dataclass

from modelgarden.api.conditions import Problem
from modelgarden.api.emissions import EmissionsRecord
from modelgarden.api.finetunejob import DatasetStatus, Needs, Parent
from modelgarden.api.pods import TrainReport
from modelgarden.registry.artifacts import Registration
from modelgarden.workloads.gpus import Gpu
from modelgarden.workloads.jobs import JobState


@dataclass(frozen=True)
class Observation:
    """What was seen. `None` says: not there, or not looked at because it decides nothing now."""

    parent: Parent | Problem | None = None
    """The earlier result that the spec names, found just now, or why it is not there."""
    inputs: str | Problem | None = None
    """Fingerprint of the inputs, or what is wrong with them or with the secrets."""
    prepare: JobState | None = None
    train: JobState | None = None
    publish: JobState | None = None
    """Looked at once the job is complete."""
    strays: tuple[str, ...] = ()
    """Pods of deleted Jobs of this resource that have not ended yet."""
    dataset: DatasetStatus | None = None
    """Prepare's result from S3, where its pod is gone."""
    needs: Needs | None = None
    """Likewise, what the training will take of a GPU."""
    gpus: tuple[Gpu, ...] = ()
    """That the training pod may get, the largest first; none where they are not known, or decide nothing now."""
    prepare_report: TrainReport | None = None
    """What the running prepare pod tells."""
    report: TrainReport | None = None
    """What the running training pod tells."""
    registration: Registration | Problem | None = None
    """How far the run's artifact is on its way into the registry."""
    publish_inputs: str | Problem | None = None
    """Digest over the versions of the secrets that a publish pod is given, or what is wrong with one of them."""
    publish_report: TrainReport | None = None
    """What the running publish pod tells."""
    emissions: tuple[EmissionsRecord, ...] | None = None
    """Of a failed training, what its attempts left in S3."""

    @property
    def unfinished(self) -> tuple[JobState, ...]:
        """Return the Jobs that may still run pods."""
        jobs = (self.prepare, self.train)
        return tuple(job for job in jobs if job is not None and job.unfinished)

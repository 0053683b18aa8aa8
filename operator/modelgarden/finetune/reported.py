"""What a training tells while it runs, and what its manifest says at the end, as fields of the status. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from modelgarden.api.artifact import Manifest
from modelgarden.api.finetunejob import Progress, Resolved, TrackerStatus
from modelgarden.api.messages import clean
from modelgarden.api.pods import TrainReport
from modelgarden.carbon.accounting import continued
from modelgarden.finetune.subject import Subject
from modelgarden.workloads.jobs import JobState

DONE: Final = "Done"
"""Stage of a progress that has come to its end."""


def reported(subject: Subject, job: JobState, report: TrainReport | None) -> dict[str, Any]:
    """Return the fields that a running training changes."""
    fields: dict[str, Any] = {"resolved": _resolved(subject, job, report)}
    trackers = _trackers(job, report)
    if trackers:
        fields["trackers"] = trackers
    if report is not None:
        fields["progress"] = report.progress
        if report.validation is not None:
            fields["validation"] = report.validation
        if report.emissions is not None:
            fields["carbon"] = continued(subject.status.carbon, report.emissions)
    return fields


def recorded(subject: Subject, manifest: Manifest) -> dict[str, Any]:
    """Return the fields that the manifest of a finished training settles."""
    # A short training may end before its first report was read.
    progress = subject.status.progress or Progress(stage=DONE)
    found = manifest.validation
    steps = found.step if found is not None and found.stopped_early else progress.total_steps
    end = {"stage": DONE, "step": steps, "total_steps": steps, "percent": 100, "eta_seconds": None}
    settled = {
        "revision": manifest.base_model.revision,
        "hyperparameters": _short(manifest.hyperparameters),
    }
    return {
        "validation": found,
        "evaluation": manifest.evaluation,
        "dataset": manifest.dataset.status,
        "carbon": continued(subject.status.carbon, manifest.emissions),
        "progress": progress.model_copy(update=end),
        "resolved": (subject.status.resolved or Resolved()).model_copy(update=settled),
    }


def _resolved(subject: Subject, job: JobState, report: TrainReport | None) -> Resolved:
    known = subject.status.resolved or Resolved()
    digest = job.newest.leader.image_id if job.newest is not None else None
    found: dict[str, Any] = {"image": job.image, "image_digest": digest or known.image_digest}
    if report is not None:
        found["revision"] = report.model_revision or known.revision
        found["hyperparameters"] = _short(report.resolved_hyperparameters)
    return known.model_copy(update=found)


def _trackers(job: JobState, report: TrainReport | None) -> tuple[TrackerStatus, ...]:
    """Return how the trackers stand: a pod that has ended well tells it last of all."""
    if report is not None:
        return report.trackers
    ending = job.newest.ending if job.newest is not None else None
    return ending.said.trackers if ending is not None and ending.said is not None else ()


def _short(hyperparameters: Mapping[str, str]) -> dict[str, str]:
    return {name: clean(value, length=128) for name, value in hyperparameters.items()}

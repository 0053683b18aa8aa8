"""The second step: a Job on a CPU checks and converts the dataset.

When dataset or model is mended the job goes on by itself, with a new prepare Job where the old one failed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from modelgarden.api.artifact import DatasetReport
from modelgarden.api.conditions import DATASET_READY, Problem
from modelgarden.api.documents import OPERATOR, DocumentError
from modelgarden.api.finetunejob import DatasetStatus, Needs
from modelgarden.api.layout import DATASET_REPORT, Location, in_storage
from modelgarden.api.messages import sentence
from modelgarden.api.names import EXIT_USER_ERROR
from modelgarden.api.selection import names_pointers
from modelgarden.controller.conditions import Finding
from modelgarden.controller.times import moment_or_none
from modelgarden.controller.waiting import RECHECK_SECONDS, SOON_SECONDS
from modelgarden.finetune.look import Look
from modelgarden.finetune.manifests.prepare import prepare_job
from modelgarden.finetune.observation import Observation
from modelgarden.finetune.outcome import Outcome, finding
from modelgarden.finetune.programs import PREPARE
from modelgarden.finetune.steps.step import FineTuneView
from modelgarden.finetune.subject import Subject
from modelgarden.finetune.waiting import waiting_for
from modelgarden.kube.resources import JOBS
from modelgarden.registry.errors import StorageError
from modelgarden.registry.store import Store
from modelgarden.workloads.jobs import JobState
from modelgarden.workloads.pods import PodState

FIRST_ASK_OF_THE_HUB_SECONDS: Final = 9.0
"""Age of a running pod that needs a hub when it is first asked: without a network it has found out by then."""
FIRST_ASK_SECONDS: Final = 60.0
"""Of any other. Most have ended before it, so that a thousand of them cost few questions."""
ASK_SECONDS: Final = 10.0
"""How often it is asked from then on."""
RETRY_SECONDS: Final = 300.0
"""Wait before prepare runs again for a reason whose mending cannot be seen from here, such as a hub's model."""

_DATASET_REASONS: Final = frozenset({"DatasetInvalid", "DatasetNotFound"})
_ONLY_WITH_ANOTHER_SPEC: Final = "InvalidConfiguration"
_ONLY_WITH_OTHER_INPUTS: Final = frozenset({_ONLY_WITH_ANOTHER_SPEC, "OutOfMemory", "RewardFailed"})
_ONLY_WITH_ANOTHER_IMAGE: Final = "UpgradeNeeded"
_MODEL_REASONS: Final = frozenset({"ModelInvalid", "ModelNotFound"})
_PERHAPS_OF_THE_SPEC: Final = frozenset({*_DATASET_REASONS, *_MODEL_REASONS, "OutOfMemory", "RewardFailed"})
"""The message may advise another spec, which a FineTuneJob cannot be given."""


async def observe(look: Look, seen: Observation) -> Observation:
    """Ask the running pod what it waits for; after its end look for its result where the pod has not told it."""
    job = seen.prepare
    if job is None:
        return seen
    pod = job.newest.leader if job.newest is not None else None
    if pod is not None and pod.running:
        if _first_asked_in(look.subject, pod, look.means.clock()) > 0:
            return seen
        return replace(seen, prepare_report=await look.progress.newest(pod, interval_seconds=ASK_SECONDS))
    if pod is not None:
        look.progress.forget(pod)
    if job.result != "Complete" or look.subject.status.dataset is not None or prepared(seen)[0] is not None:
        return seen
    report = await _from_storage(look)
    return replace(seen, dataset=report.status, needs=report.needs) if report is not None else seen


def plan(view: FineTuneView) -> Outcome:
    """Bring the dataset nearer to being prepared."""
    job = view.seen.prepare
    if view.subject.is_true(DATASET_READY):
        return Outcome(done=True)
    if job is None:
        return _start(view)
    match job.result:
        case "Complete":
            return _ready(prepared(view.seen)[0], of=view.subject.name)
        case "Failed":
            return _refused(view, job)
        case _:
            return _under_way(view, job)


def prepared(seen: Observation) -> tuple[DatasetStatus | None, Needs | None]:
    """Return what prepare found and what the training will take, by the pod's word or from S3."""
    ending = seen.prepare.ending if seen.prepare is not None else None
    said = ending.said if ending is not None else None
    if said is not None and said.dataset is not None:
        return said.dataset, said.needs
    return seen.dataset, seen.needs


async def read_dataset_report(store: Store, run: Location) -> DatasetReport | None:
    """Return what prepare found, from S3; None where there is none that can be read.

    Raises:
        StorageError: S3 refuses or does not answer.
    """
    content = await store.get_bytes(run.child(DATASET_REPORT))
    try:
        return None if content is None else DatasetReport.read(content, reader=OPERATOR)
    except DocumentError:
        return None


async def _from_storage(look: Look) -> DatasetReport | None:
    store = await look.store.get()
    if isinstance(store, Problem):
        return None
    try:
        return await read_dataset_report(store, look.subject.folder)
    except StorageError:
        return None  # the manifest has it too


def _start(view: FineTuneView) -> Outcome:
    if not isinstance(view.seen.inputs, str):
        return Outcome()
    if view.subject.spec.suspend:
        return _not_ready("Suspended", "spec.suspend is true: the prepare Job starts when it is false.")
    if view.seen.strays:
        message = f"Waits for the end of pod {view.seen.strays[0]}."
        return _not_ready("Preparing", message, requeue_after=SOON_SECONDS)
    job = prepare_job(view.subject, view.settings, inputs_hash=view.seen.inputs)
    return _not_ready("Preparing", _preparing(job["metadata"]["name"]), objects=(job,))


def _ready(dataset: DatasetStatus | None, *, of: str) -> Outcome:
    message = "The dataset is prepared in storage."
    if dataset is not None:
        earlier = (
            "an earlier FineTuneJob of this name"
            if dataset.prepared_by == of
            else f"FineTuneJob {dataset.prepared_by}"
        )
        by = f", by {earlier}" if dataset.prepared_by else ""
        rows = f"{dataset.training_rows} rows to train on and {dataset.validation_rows} held out"
        message = f"{rows} are prepared in storage{by}."
    return Outcome(
        findings=(Finding(DATASET_READY, True, "DatasetReady", message),),
        fields={"dataset": dataset} if dataset is not None else {},
        done=True,
    )


def _under_way(view: FineTuneView, job: JobState) -> Outcome:
    if view.subject.spec.suspend:
        return _not_ready("Suspended", "spec.suspend is true: the prepare Job goes on when it is false.")
    if job.newest is not None and job.newest.running:
        again = _first_asked_in(view.subject, job.newest.leader, view.now) or ASK_SECONDS
        return _running(view, job, requeue_after=again)
    waiting = waiting_for(job, view.now)
    if waiting.problem.reason != "Pending":
        return _not_ready(
            waiting.problem.reason, waiting.problem.message, requeue_after=waiting.requeue_after
        )
    return _after_an_attempt(view.subject, job, requeue_after=waiting.requeue_after)


def _running(view: FineTuneView, job: JobState, *, requeue_after: float) -> Outcome:
    report = view.seen.prepare_report
    if report is None or report.outage is None:
        return _after_an_attempt(view.subject, job, requeue_after=requeue_after)
    message = f"Job {job.name} waits and tries again: {sentence(report.outage)}"
    return _not_ready("StorageUnavailable", message, requeue_after=requeue_after)


def _first_asked_in(subject: Subject, pod: PodState, now: datetime) -> float:
    """Return the seconds until a running pod is first asked; a start that cannot be read is long ago."""
    started = moment_or_none(pod.started_at)
    first = FIRST_ASK_OF_THE_HUB_SECONDS if _needs_hub(subject) else FIRST_ASK_SECONDS
    return max(0.0, first - (now - started).total_seconds()) if started else 0.0


def _after_an_attempt(subject: Subject, job: JobState, *, requeue_after: float | None) -> Outcome:
    """Tell how the last attempt failed, for as long as the next one has not ended either: it may run into the same."""
    if job.ending is None or not job.ending.failed:
        return _not_ready("Preparing", _preparing(job.name), requeue_after=requeue_after)
    if job.ending.exit_code == EXIT_USER_ERROR:  # the Job is about to fail for it
        return _wrong(subject, job.ending.problem(PREPARE), requeue_after=SOON_SECONDS)
    message = f"{sentence(job.ending.message)} The prepare Job tries again."
    return _not_ready("Retrying", message, requeue_after=requeue_after)


def _refused(view: FineTuneView, job: JobState) -> Outcome:
    why = job.problem(PREPARE)
    if not view.subject.spec.suspend and _may_be_mended(view, job, why):
        return Outcome(
            findings=(Finding(DATASET_READY, False, "Preparing", "The prepare Job starts again."),),
            deletes=((JOBS, job.name),),
            requeue_after=SOON_SECONDS,
        )
    return _wrong(view.subject, why, requeue_after=RECHECK_SECONDS)


def _wrong(subject: Subject, why: Problem, *, requeue_after: float) -> Outcome:
    message = f"{sentence(why.message)} {_hope(subject, why)}"
    return _not_ready(why.reason, message, requeue_after=requeue_after)


def _may_be_mended(view: FineTuneView, job: JobState, why: Problem) -> bool:
    if not isinstance(view.seen.inputs, str):
        return False
    if view.seen.inputs != job.inputs_hash:
        return True
    if why.reason == _ONLY_WITH_ANOTHER_IMAGE:
        return job.image != view.settings.train_image
    return _tried_again(view.subject, why) and _is_over(job.finished_at, RETRY_SECONDS, view.now)


def _is_over(since: datetime | None, seconds: float, now: datetime) -> bool:
    return since is not None and (now - since).total_seconds() >= seconds


def _tried_again(subject: Subject, why: Problem) -> bool:
    """Tell whether the reason can go away without a change of the fingerprint."""
    if why.reason in _ONLY_WITH_OTHER_INPUTS:
        return False
    if why.reason in _DATASET_REASONS:
        dataset = _dataset(subject)
        return not all(in_storage(uri) and not names_pointers(uri) for uri in dataset)
    return why.reason not in _MODEL_REASONS or _is_of_the_hub(subject)


def _needs_hub(subject: Subject) -> bool:
    elsewhere = (uri.startswith(("hf://", "https://")) for uri in _dataset(subject))
    return _is_of_the_hub(subject) or any(elsewhere)


def _is_of_the_hub(subject: Subject) -> bool:
    """Tell whether the base model comes from the hub; an earlier result lies in storage."""
    return (subject.spec.model.source or "").startswith("hf://")


def _dataset(subject: Subject) -> tuple[str, ...]:
    """Return the URIs of the dataset's sources and of what its rewards need."""
    return subject.spec.data


def _hope(subject: Subject, why: Problem) -> str:
    if why.reason == _ONLY_WITH_ANOTHER_SPEC:
        return "The spec of this FineTuneJob stays as it is: create a new FineTuneJob with the corrected one."
    if why.reason == _ONLY_WITH_ANOTHER_IMAGE:
        return "It is tried again by itself with another image."
    other_spec = "; to change the spec create a new FineTuneJob" if why.reason in _PERHAPS_OF_THE_SPEC else ""
    minutes = round(RETRY_SECONDS / 60)
    if _tried_again(subject, why):
        return f"It is tried again when dataset, model or a secret change, and every {minutes} minutes{other_spec}."
    return f"It is tried again by itself when dataset, model or a secret change{other_spec}."


def _preparing(name: str) -> str:
    return f"Job {name} checks and converts the dataset."


def _not_ready(reason: str, message: str, **rest: Any) -> Outcome:
    return finding(DATASET_READY, reason, message, **rest)

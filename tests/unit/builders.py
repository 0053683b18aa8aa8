"""Objects for unit tests: a FineTuneJob, its Jobs and pods as the API server would show them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from modelgarden.api import names
from modelgarden.api.artifact import (
    DatasetReport,
    FileEntry,
    Manifest,
    RunIdentity,
    VersionRecord,
)
from modelgarden.api.conditions import Condition
from modelgarden.api.emissions import (
    Attempt,
    EmissionsRecord,
    Energy,
    Intensity,
    Methods,
    emissions_milligrams,
)
from modelgarden.api.evaluation import EvaluationStatus, Interval, Metric, Score
from modelgarden.api.finetunejob import BaseModelRecord, DatasetStatus, FineTuneJobStatus, Parent, Progress
from modelgarden.api.pods import TerminationMessage, TrainReport
from modelgarden.finetune.manifests.prepare import prepare_job
from modelgarden.finetune.manifests.publish import publish_job
from modelgarden.finetune.manifests.train import train_job
from modelgarden.finetune.programs import PREPARE, PUBLISH, TRAIN
from modelgarden.finetune.subject import Subject, subject_of
from modelgarden.registry.artifacts import Candidate, Registration
from modelgarden.settings import Settings
from modelgarden.workloads.endings import Program
from modelgarden.workloads.jobs import JobState, job_state

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
SETTINGS = Settings(train_image="registry.example/train:1", serve_image="registry.example/serve:1")
UID = "0b3f6a1e-52f4-4e0a-9d0b-7a1c5f1f0001"
DIGEST = "ab" * 32
FINGERPRINT = "f" * 32

StepName = Literal["prepare", "train", "publish"]
PROGRAMS: Mapping[StepName, Program] = {"prepare": PREPARE, "train": TRAIN, "publish": PUBLISH}

_SPEC: dict[str, Any] = {
    "model": {"source": "s3://models/tiny"},
    "dataset": {"source": "s3://data/rows.jsonl"},
    "output": {"uri": "s3://garden/root", "modelName": "bot"},
    "storage": {"endpoint": "http://s3.test:9000", "credentialsSecretRef": {"name": "s3"}},
    "resources": {"gpus": 0, "cpu": "1", "memory": "4Gi"},
}


def stamp(seconds_ago: float = 0) -> str:
    """Return a timestamp of so many seconds before NOW."""
    return (NOW - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def make_owner(*, status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """Return a FineTuneJob; keywords replace fields of its spec."""
    owner: dict[str, Any] = {
        "apiVersion": names.API_VERSION,
        "kind": "FineTuneJob",
        "metadata": {"namespace": "team", "name": "bot", "uid": UID, "generation": 1, "resourceVersion": "1"},
        "spec": {**_SPEC, **spec},
    }
    if status is not None:
        owner["status"] = status
    return owner


def make_subject(*, conditions: tuple[Condition, ...] = (), **spec: Any) -> Subject:
    """Return a FineTuneJob as the plan sees it, with a status of the conditions given."""
    return with_status(subject_of(make_owner(**spec)), conditions=conditions)


def with_status(subject: Subject, **fields: Any) -> Subject:
    """Return the subject with other fields of the status."""
    return replace(subject, status=subject.status.model_copy(update=fields))


def written_status(subject: Subject, status: dict[str, Any] | None) -> Subject:
    """Return the subject after a plan's status was written."""
    assert status is not None
    return replace(subject, status=FineTuneJobStatus.from_dict(status))


def condition(kind: str, status: str, reason: str, *, seconds_ago: float = 60) -> Condition:
    """Return a condition that has been so for some time."""
    return Condition.from_dict(
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": f"{reason}.",
            "observedGeneration": 1,
            "lastTransitionTime": stamp(seconds_ago),
        }
    )


class JobBuilder:
    """A Job of the subject as the API server shows it, with pods."""

    def __init__(self, subject: Subject, step: StepName, *, inputs_hash: str = FINGERPRINT) -> None:
        self.step: StepName = step
        match step:
            case "prepare":
                manifest = prepare_job(subject, SETTINGS, inputs_hash=inputs_hash)
            case "train":
                manifest = train_job(subject, SETTINGS)
            case "publish":
                artifact = make_registration(subject).artifact
                manifest = publish_job(subject, SETTINGS, artifact, inputs_hash=inputs_hash)
        self.body: dict[str, Any] = json.loads(json.dumps(manifest))
        self.body["metadata"] |= {
            "uid": f"{step}-job-uid",
            "resourceVersion": "7",
            "creationTimestamp": stamp(),
        }
        self.body["status"] = {}
        self.pods: list[dict[str, Any]] = []

    def complete(self) -> JobBuilder:
        """End it well."""
        return self._ended("Complete", "CompletionsReached", "", seconds_ago=1)

    def failed(
        self, reason: str = "BackoffLimitExceeded", *, message: str = "", seconds_ago: float = 1
    ) -> JobBuilder:
        """End it as failed."""
        return self._ended("Failed", reason, message, seconds_ago=seconds_ago)

    def suspended(self) -> JobBuilder:
        """Set spec.suspend."""
        self.body["spec"]["suspend"] = True
        return self

    def suspended_by_operator(self) -> JobBuilder:
        """Set spec.suspend as the operator does, which leaves a note."""
        self.body["metadata"]["annotations"] = {"modelgarden.dev/suspended": "true"}
        return self.suspended()

    def in_queue(self, name: str) -> JobBuilder:
        """Give it the label of a queue."""
        self.body["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = name
        return self

    def resumed(self, seconds_ago: float) -> JobBuilder:
        """Tell that it was suspended, and is not any more."""
        when = stamp(seconds_ago)
        self.body["status"]["conditions"] = [
            {"type": "Suspended", "status": "False", "reason": "JobResumed", "lastTransitionTime": when}
        ]
        return self

    def with_pod(self, pod: dict[str, Any]) -> JobBuilder:
        """Add a pod; later ones are newer."""
        pod["metadata"]["creationTimestamp"] = stamp(600 - len(self.pods))
        self.pods.append(pod)
        return self

    def state(self) -> JobState:
        """Return it as an observation holds it."""
        return job_state(self.body, self.pods, PROGRAMS[self.step])

    def _ended(self, kind: str, reason: str, message: str, *, seconds_ago: float) -> JobBuilder:
        self.body["status"]["conditions"] = [
            {
                "type": kind,
                "status": "True",
                "reason": reason,
                "message": message,
                "lastTransitionTime": stamp(seconds_ago),
            }
        ]
        return self


def make_pod(
    step: StepName,
    *,
    name: str = "bot-pod-1",
    phase: str = "Pending",
    state: dict[str, Any] | None = None,
    conditions: tuple[dict[str, Any], ...] = (),
    **status: Any,
) -> dict[str, Any]:
    """Return a pod in a state of its one container."""
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "team", "name": name, "uid": f"uid-of-{name}", "resourceVersion": "3"},
        "spec": {
            "containers": [
                {
                    "name": step,
                    "image": "registry.example/train:1",
                    "resources": {"limits": {"memory": "4Gi"}},
                }
            ]
        },
        "status": {"phase": phase, "conditions": list(conditions), **status},
    }
    if state is not None:
        pod["status"]["containerStatuses"] = [
            {"name": step, "state": state, "imageID": "registry.example/train@sha256:1234"}
        ]
    return pod


def running_pod(step: StepName, *, name: str = "bot-pod-1", started: float = 60) -> dict[str, Any]:
    """Return a pod whose container runs since `started`, as `stamp` takes it."""
    return make_pod(step, name=name, phase="Running", state={"running": {"startedAt": stamp(started)}})


def ended_pod(
    step: StepName,
    exit_code: int,
    *,
    message: TerminationMessage | str | None = None,
    name: str = "bot-pod-1",
    reason: str = "Error",
    conditions: tuple[dict[str, Any], ...] = (),
) -> dict[str, Any]:
    """Return a pod whose container has ended."""
    left = message.encode() if isinstance(message, TerminationMessage) else message
    terminated = {"exitCode": exit_code, "reason": reason, "startedAt": stamp(60), "finishedAt": stamp(5)}
    if left is not None:
        terminated["message"] = left
    return make_pod(
        step,
        name=name,
        phase="Succeeded" if exit_code == 0 else "Failed",
        state={"terminated": terminated},
        conditions=conditions,
    )


def unschedulable_pod(step: StepName, *, seconds_ago: float = 30) -> dict[str, Any]:
    """Return a pod without a place."""
    return make_pod(
        step,
        conditions=(
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
                "lastTransitionTime": stamp(seconds_ago),
            },
        ),
    )


def disruption(reason: str = "PreemptionByScheduler") -> dict[str, Any]:
    """Return the condition of a pod that is evicted or preempted."""
    return {"type": "DisruptionTarget", "status": "True", "reason": reason}


def make_dataset(**fields: Any) -> DatasetStatus:
    """Return what prepare found."""
    known: dict[str, Any] = {
        "rows": 120, "training_rows": 100, "validation_rows": 20, "tokens": 4096,
        "format": "PromptCompletion", "digest": DIGEST,
    }  # fmt: skip
    return DatasetStatus(**(known | fields))


def make_emissions(
    attempts: dict[str, int] | None = None, *, reason: str = "Running", seconds_ago: int = 600, **fields: Any
) -> EmissionsRecord:
    """Return a record of attempts with so many joules and a minute each, half of the energy that of the GPU."""
    given = attempts if attempts is not None else {"uid-of-bot-pod-1": 7200}
    parts = {name: Energy.of(gpu=joules // 2, cpu=joules - joules // 2) for name, joules in given.items()}
    energy = sum(parts.values(), Energy())
    intensity = Intensity(milligrams_per_kwh=380_950, zone="DEU", source="codecarbon-3.3.2", data_year=2023)
    known: dict[str, Any] = {
        "state": "Measured",
        "energy_joules": energy,
        "pue_milli": 1200,
        "pue_source": "Spec",
        "intensity": intensity,
        "emissions_milligrams": emissions_milligrams(energy.total, pue_milli=1200, milligrams_per_kwh=380_950),
        "methods": Methods(gpu="nvml-energy-counter", cpu="cpu-load-model", ram="dimm-model"),
        "devices": ("GPU-1",),
        "duration_seconds": 60 * len(given),
        "coverage_percent": 100,
        "attempts": tuple(
            Attempt(
                id=name, start_time=stamp(seconds_ago - 60 * place),
                end_time=stamp(seconds_ago - 60 * place - 60),
                energy_joules=part, reason=reason,
            )
            for place, (name, part) in enumerate(parts.items())
        ),
        "tool": "codecarbon 3.3.2",
    }  # fmt: skip
    return EmissionsRecord(**(known | fields))


def make_report(*, step: int = 50, attempt: str = "uid-of-bot-pod-1", **fields: Any) -> TrainReport:
    """Return what a training pod reports."""
    known: dict[str, Any] = {
        "attempt": attempt,
        "progress": Progress(stage="Training", step=step, total_steps=100, percent=step, loss="1.25"),
        "resolved_hyperparameters": {"micro_batch_size": "4"},
        "model_revision": "0123abc",
        "emissions": make_emissions(),
    }
    return TrainReport(**(known | fields))


def make_evaluation() -> EvaluationStatus:
    """Return held-out scores."""
    return EvaluationStatus(
        rows=20,
        metrics=(
            Metric(
                name="perplexity",
                direction="LowerIsBetter",
                base=Score(value="31.5"),
                tuned=Score(value="1.9", interval=Interval(low="1.7", high="2.2")),
            ),
            Metric(
                name="exactMatch",
                direction="HigherIsBetter",
                base=Score(value="0", numerator=0, denominator=20),
                tuned=Score(value="0.75", numerator=15, denominator=20),
            ),
        ),
    )


def make_dataset_report() -> DatasetReport:
    """Return prepare's report."""
    return DatasetReport(
        source="s3://data/rows.jsonl", status=make_dataset(), longest_row_tokens=80, files=()
    )


def make_manifest(*, run: RunIdentity, files: tuple[FileEntry, ...] = (), **fields: Any) -> Manifest:
    """Return the manifest of a run."""
    known: dict[str, Any] = {
        "run": run,
        "model_name": "bot",
        "created_at": stamp(10),
        "base_model": BaseModelRecord(source="s3://models/tiny", revision=None, digest=DIGEST),
        "method": "LoRA",
        "dataset": make_dataset_report(),
        "hyperparameters": {"micro_batch_size": "4"},
        "image": "registry.example/train:1",
        "versions": {"unsloth": "2026.10.9"},
        "evaluation": make_evaluation(),
        "emissions": make_emissions(reason="Completed"),
        "formats": {"Merged16Bit": "artifact/merged"},
        "files": files or (FileEntry(path="artifact/merged/model.safetensors", sha256=DIGEST, bytes=4096),),
    }
    return Manifest(**(known | fields))


def make_parent(**fields: Any) -> Parent:
    """Return an earlier result as it was found."""
    run = "s3://garden/root/runs/team/first/uid-of-first"
    known: dict[str, Any] = {
        "uri": f"{run}/manifest.json",
        "manifest_sha256": DIGEST,
        "model_name": "bot",
        "version": 3,
        "job": "first",
        "source": f"{run}/artifact/merged",
        "root": BaseModelRecord(source="hf://org/name", revision="0123abc", digest=DIGEST),
    }
    return Parent(**(known | fields))


def make_registration(subject: Subject, *, version: int = 1, **manifest: Any) -> Registration:
    """Return a registered artifact of the subject's run."""
    record = VersionRecord(
        version=version,
        model_name="bot",
        run=subject.run,
        manifest=f"s3://garden/root/runs/team/bot/{UID}/manifest.json",
        manifest_sha256=DIGEST,
        created_at=stamp(),
    )
    output = subject.spec.output
    return Registration(
        candidate=Candidate(run=subject.run, output_uri=output.uri, model_name=output.model_name),
        manifest=make_manifest(run=subject.run, **manifest),
        manifest_sha256=DIGEST,
        written=NOW,
        record=record,
        aliases=frozenset({"latest"}),
    )


def ready(*more: Condition) -> tuple[Condition, ...]:
    """Return the conditions of a job whose dataset is prepared."""
    return (
        condition("Accepted", "True", "Accepted"),
        condition("DatasetReady", "True", "DatasetReady"),
        *more,
    )

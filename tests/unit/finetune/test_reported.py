"""What a training tells, and what the manifest of a finished one settles, in the status."""

from __future__ import annotations

from modelgarden.api.finetunejob import BaseModelRecord, Progress, Resolved, TrackerStatus, ValidationStatus
from modelgarden.api.pods import TerminationMessage
from modelgarden.finetune.reported import recorded, reported
from tests.unit.builders import (
    DIGEST,
    JobBuilder,
    ended_pod,
    make_emissions,
    make_evaluation,
    make_manifest,
    make_report,
    make_subject,
    running_pod,
    with_status,
)


def test_the_manifest_has_the_last_word() -> None:
    running = make_report(step=60).progress.model_copy(update={"eta_seconds": 30, "total_steps": 100})
    known = Resolved(image="registry.example/train:1", image_digest="sha256:1", revision="main")
    subject = with_status(
        make_subject(),
        progress=running,
        resolved=known,
        carbon=make_emissions({"lost": 5000}, seconds_ago=900),
    )
    manifest = make_manifest(
        run=subject.run,
        base_model=BaseModelRecord(source="hf://org/name", revision="0123abc", digest=DIGEST),
        hyperparameters={"micro_batch_size": "4", "long": "x" * 200},
    )

    found = recorded(subject, manifest)

    assert found["evaluation"] == make_evaluation()
    assert found["dataset"] == manifest.dataset.status
    assert found["carbon"].energy_joules.total == 5000 + manifest.emissions.energy_joules.total
    assert found["progress"] == running.model_copy(
        update={"stage": "Done", "step": 100, "percent": 100, "eta_seconds": None}
    )
    assert found["resolved"] == known.model_copy(
        update={
            "revision": "0123abc",
            "hyperparameters": {"micro_batch_size": "4", "long": "x" * 124 + " ..."},
        }
    )


def test_a_training_that_nobody_saw_run_is_done_all_the_same() -> None:
    subject = make_subject()

    found = recorded(subject, make_manifest(run=subject.run))

    assert found["progress"] == Progress(stage="Done", percent=100)
    assert found["resolved"] == Resolved(hyperparameters={"micro_batch_size": "4"})


def test_a_training_that_stopped_early_had_no_more_steps_than_it_did() -> None:
    running = make_report(step=60).progress.model_copy(update={"total_steps": 100})
    subject = with_status(make_subject(), progress=running)
    found = ValidationStatus(step=70, loss="1.5", best_step=50, best_loss="1.25", stopped_early=True)

    fields = recorded(subject, make_manifest(run=subject.run, validation=found))

    assert fields["validation"] == found
    progress = fields["progress"]
    assert (progress.step, progress.total_steps, progress.percent) == (70, 70, 100)
    whole = found.model_copy(update={"stopped_early": False})
    assert recorded(subject, make_manifest(run=subject.run, validation=whole))["progress"].step == 100


def test_what_the_validations_find_is_told_while_the_training_runs() -> None:
    subject = make_subject()
    running = JobBuilder(subject, "train").with_pod(running_pod("train")).state()
    found = ValidationStatus(step=70, loss="1.5", best_step=50, best_loss="1.25")

    assert reported(subject, running, make_report(validation=found))["validation"] == found
    assert "validation" not in reported(subject, running, make_report())


def test_the_trackers_stand_as_the_running_pod_tells_and_at_last_as_it_said_at_its_end() -> None:
    subject = make_subject()
    running = JobBuilder(subject, "train").with_pod(running_pod("train")).state()
    follows = TrackerStatus(name="TensorBoard", url="s3://garden/root/tensorboard")
    fails = follows.model_copy(update={"problem": "s3:PutObject does not answer"})
    last = TerminationMessage(reason="Succeeded", message="done", trackers=(fails,))
    ended = JobBuilder(subject, "train").with_pod(ended_pod("train", 0, message=last)).complete().state()

    assert reported(subject, running, make_report(trackers=(follows,)))["trackers"] == (follows,)
    assert reported(subject, ended, None)["trackers"] == (fails,)
    assert "trackers" not in reported(subject, running, None)

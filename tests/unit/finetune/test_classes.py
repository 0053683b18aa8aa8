"""Classes of ends: each row of the table, and the page that tells people of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from modelgarden.api.conditions import REASONS
from modelgarden.api.finetunejob import AttemptStatus
from modelgarden.api.pods import TerminationMessage
from modelgarden.finetune.classes import _BY_REASON, EndClass, class_of, interruptions_in_vain
from modelgarden.finetune.manifests.train import train_job
from modelgarden.finetune.programs import TRAIN
from modelgarden.workloads.pods import pod_state
from tests.unit.builders import SETTINGS, disruption, ended_pod, make_pod, make_subject, stamp

PAGE = Path(__file__).parents[3] / "docs" / "failures.md"


def said(reason: str) -> TerminationMessage:
    return TerminationMessage(reason=reason, message="Why.")


def disrupted(reason: str, exit_code: int = 143) -> dict[str, Any]:
    return ended_pod("train", exit_code, conditions=(disruption(reason),))


ENDS = [
    pytest.param(disrupted("PreemptionByScheduler"), "Preempted", "Interruption", id="the scheduler preempts it"),
    pytest.param(disrupted("EvictionByEvictionAPI"), "Evicted", "Interruption", id="its node is drained"),
    pytest.param(disrupted("TerminationByKubelet", 137), "Evicted", "Interruption", id="its node lacks memory"),
    pytest.param(disrupted("DeletionByTaintManager", 137), "NodeLost", "Interruption", id="its node does not answer"),
    pytest.param(disrupted("SpotReclaimed", 137), "Evicted", "Interruption", id="another controller disrupts it"),
    pytest.param(
        make_pod("train", phase="Failed", conditions=(disruption("DeletionByPodGC"),)), "NodeLost", "Interruption",
        id="its node was deleted",
    ),
    pytest.param(ended_pod("train", 143, message=said("Retrying")), "Retrying", "Nothing", id="somebody stops it"),
    pytest.param(ended_pod("train", 75), "Retrying", "Nothing", id="storage is away"),
    pytest.param(ended_pod("train", 137, reason="OOMKilled"), "OutOfMemory", "Failure", id="the pod's memory"),
    pytest.param(
        ended_pod("train", 1, message=said("OutOfMemory")), "OutOfMemory", "Failure", id="the worker's memory"
    ),
    pytest.param(ended_pod("train", 1, message=said("Stalled")), "Stalled", "Failure", id="it stalls"),
    pytest.param(ended_pod("train", 1), "Retrying", "Failure", id="it crashes"),
    pytest.param(ended_pod("train", 137), "Retrying", "Failure", id="somebody kills it"),
    pytest.param(ended_pod("train", 64, message=said("Diverged")), "Diverged", "Final", id="its numbers go bad"),
    pytest.param(ended_pod("train", 64, message=said("OutOfMemory")), "OutOfMemory", "Final", id="the GPU's memory"),
    pytest.param(ended_pod("train", 64, message=said("ModelInvalid")), "ModelInvalid", "Final", id="wrong input"),
]  # fmt: skip


@pytest.mark.parametrize(("pod", "want_reason", "want_counts"), ENDS)
def test_the_end_of_a_pod_has_a_class(pod: dict[str, Any], want_reason: str, want_counts: str) -> None:
    ending = pod_state(pod, TRAIN).ending

    assert ending is not None
    assert class_of(ending) == EndClass(want_reason, want_counts)  # type: ignore[arg-type]
    assert want_reason in REASONS


@pytest.mark.parametrize(("pod", "want_reason", "want_counts"), ENDS)
def test_the_job_counts_what_the_class_says(pod: dict[str, Any], want_reason: str, want_counts: str) -> None:
    """Kubernetes takes the first rule that fits; what none fits counts."""
    action = next(filter(None, (action_of(rule, pod) for rule in rules())), "Count")

    wanted = {"Final": "FailJob", "Failure": "Count", "Interruption": "Ignore", "Nothing": "Ignore"}
    assert action == wanted[want_counts]


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = train_job(make_subject(), SETTINGS)["spec"]["podFailurePolicy"]["rules"]
    return found


def action_of(rule: dict[str, Any], pod: dict[str, Any]) -> str | None:
    status = pod["status"]
    codes = [
        one["state"]["terminated"]["exitCode"]
        for one in status.get("containerStatuses", [])
        if "terminated" in one["state"]
    ]
    of_codes = rule.get("onExitCodes", {}).get("values", [])
    held = {(one["type"], one["status"]) for one in status["conditions"]}
    of_conditions = {(one["type"], one["status"]) for one in rule.get("onPodConditions", [])}
    fits = bool(set(codes) & set(of_codes) or held & of_conditions)
    return str(rule["action"]) if fits else None


def test_a_stopped_pod_whose_job_a_queue_has_suspended_was_preempted() -> None:
    ending = pod_state(ended_pod("train", 143), TRAIN).ending
    crash = pod_state(ended_pod("train", 1), TRAIN).ending

    assert ending is not None
    assert crash is not None
    assert class_of(ending, queued_again=True) == EndClass("Preempted", "Nothing")
    assert class_of(crash, queued_again=True).counts == "Failure"


def attempt(reason: str | None, checkpoint_step: int | None = None) -> AttemptStatus:
    ended = stamp(5) if reason is not None else None
    return AttemptStatus(
        pod="a", start_time=stamp(60), end_time=ended, reason=reason, checkpoint_step=checkpoint_step
    )


EVICTED = attempt("EvictionByEvictionAPI")


@pytest.mark.parametrize(
    ("attempts", "want"),
    [
        pytest.param([], 0, id="there was none"),
        pytest.param([EVICTED, EVICTED, attempt(None)], 2, id="before the first checkpoint, and one runs"),
        pytest.param([EVICTED, attempt("PreemptionByScheduler", 20)], 0, id="it had come further"),
        pytest.param(
            [attempt("Lost", 20), attempt("EvictionByEvictionAPI", 20), EVICTED], 2, id="all from the same checkpoint"
        ),
        pytest.param([EVICTED, attempt("Lost", 20), EVICTED], 1, id="the last one from a newer checkpoint"),
        pytest.param([EVICTED, attempt("TrainingFailed"), EVICTED], 2, id="a crash in between is no progress"),
        pytest.param(
            [attempt(reason) for reason in ("Terminated", "Preempted", "Suspended", "StorageUnavailable", "Stalled")],
            0,
            id="what somebody wants, and what backoffLimit counts",
        ),
    ],
)  # fmt: skip
def test_interruptions_in_vain_are_counted(attempts: list[AttemptStatus], want: int) -> None:
    assert interruptions_in_vain(attempts) == want


def test_the_page_has_a_row_for_each_class() -> None:
    rows = re.findall(r"^\| .+ \| (?:`(\w+)`|its own) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)

    told = {(reason, counts.split(":")[0]) for reason, counts in rows if reason}
    words = {"Failure": "failure", "Interruption": "interruption", "Nothing": "nothing", "Final": "final"}
    wanted = {(one.reason, words[one.counts]) for one in _BY_REASON.values()}
    assert wanted <= told
    assert ("Diverged", "final") in told
    assert {reason for reason, _ in told} <= set(REASONS)

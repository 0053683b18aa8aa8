"""The demo's report and what it says while it follows the two resources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hack.demo import report
from hack.demo.follow import deployment_line, job_line, tells_of
from hack.demo.report import Answers


def answers(*, base: int, tuned: int, served: int, of: int = 4) -> list[Answers]:
    return [
        Answers(
            prompt=f"question {index}",
            expected="SELECT 1",
            base="",
            tuned="SELECT 1",
            served="SELECT 1",
            served_tokens=7,
            base_right=index < base,
            tuned_right=index < tuned,
            served_right=index < served,
        )
        for index in range(of)
    ]


def record(joules: int, milligrams: int) -> dict[str, Any]:
    return {"energyJoules": {"total": joules}, "emissionsMilligrams": milligrams, "state": "Estimated"}


JOB = {
    "status": {
        "carbon": record(4000, 423),
        "artifact": {"uri": "s3://b/m", "version": 1},
        "evaluation": {"rows": 4},
    }
}
DEPLOYMENT = {"status": {"url": "http://x/v1", "carbon": {"total": record(1000, 106)}}}


def test_scores_are_shares_of_right_answers() -> None:
    built = report.build(answers(base=0, tuned=3, served=2), JOB, DEPLOYMENT, {"train": 240.0})
    assert (built["baseScore"], built["tunedScore"], built["servedScore"]) == (0.0, 0.75, 0.5)


def test_energy_and_emissions_are_the_sum_of_training_and_serving() -> None:
    built = report.build(answers(base=0, tuned=4, served=4), JOB, DEPLOYMENT, {})
    assert (built["energyJoules"], built["emissionsMilligrams"]) == (5000, 529)


def test_the_report_is_written_as_json(tmp_path: Path) -> None:
    rows = answers(base=0, tuned=4, served=4)
    built = report.build(rows, JOB, DEPLOYMENT, {"train": 1.5})
    assert json.loads(report.write(built, rows, tmp_path).read_text()) == built
    assert len(json.loads((tmp_path / "answers.json").read_text())) == 4


def resource(phase: str, kind: str, reason: str, **status: Any) -> dict[str, Any]:
    condition = {"type": kind, "status": "False", "reason": reason, "message": "the message"}
    return {"status": {"phase": phase, "conditions": [condition], **status}}


@pytest.mark.parametrize(
    ("job", "want"),
    [
        pytest.param({}, "Pending: no status yet", id="a job without a status"),
        pytest.param(
            resource("Blocked", "Accepted", "SecretNotFound"),
            "Blocked: SecretNotFound: the message",
            id="a blocked job says why",
        ),
        pytest.param(
            resource("Preparing", "DatasetReady", "Preparing"),
            "Preparing: the message",
            id="nothing is said twice",
        ),
        pytest.param(
            resource(
                "Training",
                "Running",
                "Training",
                progress={"stage": "Training", "step": 5, "totalSteps": 50, "loss": "1.2", "etaSeconds": 9},
            ),
            "Training 5/50, loss 1.2, 9 s left",
            id="a training job says how far it is",
        ),
    ],
)
def test_a_job_is_told_in_one_line(job: dict[str, Any], want: str) -> None:
    assert job_line(job) == want


def test_a_deployment_is_told_in_one_line() -> None:
    deployment = resource("Pending", "ModelResolved", "WaitingForFineTuneJob")
    assert deployment_line(deployment) == "Pending: WaitingForFineTuneJob: the message"


def counting(tokens: int | None) -> dict[str, Any]:
    return {"status": {} if tokens is None else {"carbon": {"generatedTokens": tokens}}}


@pytest.mark.parametrize(
    ("before", "now", "want"),
    [
        pytest.param(None, None, False, id="nothing is counted yet"),
        pytest.param(None, 99, False, id="some answers are counted"),
        pytest.param(None, 100, True, id="all answers are counted"),
        pytest.param(5000, 5000, False, id="only an earlier run's answers are counted"),
        pytest.param(5000, 5100, True, id="all answers are counted after an earlier run's"),
    ],
)
def test_the_report_waits_for_the_energy_of_its_own_answers(
    before: int | None, now: int | None, want: bool
) -> None:
    assert tells_of(counting(now), 100, since=counting(before)) is want

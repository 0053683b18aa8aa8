"""A Job of several pods, and the Service that gives them names."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden.workloads.indexed import grouped, headless_service, host_of

LABELS = {"job": "bot", "step": "train"}
SERVICE = headless_service("team", "bot-train", labels=LABELS)
JOB: dict[str, Any] = {
    "metadata": {"name": "bot-train"},
    "spec": {
        "backoffLimit": 3,
        "podReplacementPolicy": "Failed",
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {"containers": [{"name": "train"}], "restartPolicy": "Never"},
        },
    },
}


def action(rules: list[dict[str, Any]], *, exit_code: int, disrupted: bool) -> str:
    """Return what the first rule that fits does, as the Job controller reads them."""
    for rule in rules:
        codes = rule.get("onExitCodes")
        if codes is None:
            fits = disrupted
        else:
            fits = codes["containerName"] == "train" and (exit_code in codes["values"]) == (
                codes["operator"] == "In"
            )
        if fits:
            return str(rule["action"])
    return "Count"


def test_all_pods_start_at_once_and_the_rest_of_the_job_stays() -> None:
    spec = grouped(JOB, nodes=4, service=SERVICE)["spec"]

    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 4)
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["template"]["metadata"] == JOB["spec"]["template"]["metadata"]
    assert spec["template"]["spec"].items() >= JOB["spec"]["template"]["spec"].items()
    assert JOB["spec"]["backoffLimit"] == 3, "what was given is left as it is"


@pytest.mark.parametrize(
    ("exit_code", "disrupted", "want"),
    [
        pytest.param(1, False, "FailJob", id="it crashes"),
        pytest.param(64, False, "FailJob", id="the input is wrong"),
        pytest.param(75, False, "FailJob", id="storage is away"),
        pytest.param(137, False, "FailJob", id="it is killed"),
        pytest.param(143, True, "FailJob", id="it is preempted"),
        pytest.param(143, False, "Ignore", id="a queue suspends the Job"),
    ],
)
def test_any_end_that_is_too_early_fails_the_job(exit_code: int, disrupted: bool, want: str) -> None:
    spec = grouped(JOB, nodes=2, service=SERVICE)["spec"]

    assert action(spec["podFailurePolicy"]["rules"], exit_code=exit_code, disrupted=disrupted) == want
    assert spec["backoffLimit"] == 0


def test_pods_are_spread_where_there_are_nodes_and_start_where_there_are_not() -> None:
    (spread,) = grouped(JOB, nodes=2, service=SERVICE)["spec"]["template"]["spec"][
        "topologySpreadConstraints"
    ]

    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == (
        "kubernetes.io/hostname",
        "ScheduleAnyway",
    )
    assert spread["labelSelector"] == {"matchLabels": LABELS}


def test_pods_have_names_before_they_are_ready() -> None:
    pod = grouped(JOB, nodes=2, service=SERVICE)["spec"]["template"]["spec"]

    assert pod["subdomain"] == SERVICE["metadata"]["name"]
    assert SERVICE["spec"]["clusterIP"] == "None"
    assert SERVICE["spec"]["publishNotReadyAddresses"] is True
    assert SERVICE["spec"]["selector"] == LABELS
    assert (
        host_of("bot-train", 0, namespace="team", domain="cluster.local")
        == "bot-train-0.bot-train.team.svc.cluster.local"
    )

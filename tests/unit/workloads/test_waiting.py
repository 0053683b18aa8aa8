"""What keeps a pod from its node is told in the scheduler's words, with what to do where they do not say it."""

from __future__ import annotations

import pytest

from modelgarden.workloads.waiting import place_problem


@pytest.mark.parametrize(
    ("said", "want"),
    [
        (
            '0/1 nodes are available: persistentvolumeclaim "nope" not found. not found.',
            'Pod a: 0/1 nodes are available: persistentvolumeclaim "nope" not found; create the PersistentVolumeClaim nope, '
            "or a new resource that names another",
        ),
        (
            "pod has unbound immediate PersistentVolumeClaims. not found",
            "Pod a: pod has unbound immediate PersistentVolumeClaims; see what kubectl describe persistentvolumeclaim says",
        ),
        (
            "0/3 nodes are available: 3 Insufficient cpu.",
            "Pod a: 0/3 nodes are available: 3 Insufficient cpu.",
        ),
        ("", "Pod a: waits for admission to a queue"),
    ],
)
def test_what_to_do_about_a_claim_is_said(said: str, want: str) -> None:
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}

    problem = place_problem({"metadata": {"name": "a"}, "status": {"conditions": [scheduled]}})

    assert problem is not None
    assert (problem.reason, problem.message) == ("Unschedulable", want)

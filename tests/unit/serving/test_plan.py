"""Plans: what is applied and what the status says, one situation a test."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from modelgarden.api.conditions import REASONS, Problem
from modelgarden.api.modeldeployment import ModelDeploymentStatus
from modelgarden.api.pods import EngineReport
from modelgarden.controller.plan import Plan
from modelgarden.serving.decision import ServingView
from modelgarden.serving.observation import PodsSaid
from modelgarden.serving.plan import plan, unreadable
from modelgarden.serving.resolve import Resolution
from modelgarden.serving.revision import revision_hash
from tests.unit.serving.builders import (
    DIGEST,
    NOW,
    OTHER_DIGEST,
    artifact,
    crashed,
    live,
    observed,
    pod,
    report,
    spec,
    unschedulable,
    wanted,
)
from tests.unit.serving.builders import (
    made as made_of,
)

SERVED = {"modelgarden.dev/served": "true"}
FAILED = {
    "modelgarden.dev/failed": json.dumps(
        {"reason": "PodsFailing", "message": "vLLM knows no argument --flag."}
    )
}
READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T11:58:00Z"}
_NONE: Mapping[str, str] = {}
NO_GPU = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
WRONG_NODE = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
TERMINATED = '{"reason":"InvalidConfiguration","message":"vLLM knows no argument --no-such-flag"}'


def planned(view: ServingView) -> Plan:
    made = plan(view)
    assert made.status is not None
    ModelDeploymentStatus.from_dict(made.status)
    return made


def conditions(made: Plan) -> dict[str, tuple[str, str]]:
    assert made.status is not None
    found = {one["type"]: (one["status"], one["reason"]) for one in made.status["conditions"]}
    assert {reason for _, reason in found.values()} <= set(REASONS)
    return found


def message(made: Plan, condition: str) -> str:
    assert made.status is not None
    return next(str(one["message"]) for one in made.status["conditions"] if one["type"] == condition)


def replicas(made: Plan) -> dict[str, int]:
    return {
        child["metadata"]["name"]: child["spec"]["replicas"]
        for child in made.objects
        if child["kind"] == "Deployment"
    }


def state(made: Plan) -> dict[str, str]:
    assert made.status is not None
    return {one["name"]: one["state"] for one in made.status.get("revisions", [])}


def phase(made: Plan) -> str:
    assert made.status is not None
    return str(made.status["phase"])


OLD = wanted(sha256=OTHER_DIGEST)
NEW = wanted()
OLD_NAME, NEW_NAME = f"bot-{revision_hash(OLD)}", f"bot-{revision_hash(NEW)}"


def old(ready: int = 1, count: int = 1) -> dict[str, Any]:
    return live(made_of(OLD, replicas=count, annotations=SERVED), ready=ready, age=86_400)


def new(ready: int = 0, count: int = 1, age: float = 60, notes: Mapping[str, str] = _NONE) -> dict[str, Any]:
    return live(made_of(NEW, replicas=count, annotations=notes), ready=ready, age=age)


def test_the_first_reconcile_makes_service_and_revision() -> None:
    made = planned(observed(the_spec=spec(replicas=2)))

    assert [child["kind"] for child in made.objects] == ["Service", "Deployment"]
    assert list(replicas(made).values()) == [2]
    assert phase(made) == "RollingOut"
    assert conditions(made) == {
        "Accepted": ("True", "Accepted"),
        "ModelResolved": ("True", "Resolved"),
        "Ready": ("False", "NotServing"),
        "Progressing": ("True", "RollingOut"),
        "Degraded": ("False", "Healthy"),
    }
    assert made.status is not None
    assert made.status["url"] == "http://bot.default.svc.cluster.local/v1"
    assert made.status["selector"] == "modelgarden.dev/modeldeployment=bot"
    assert made.status["observedGeneration"] == 2
    assert {child["metadata"]["namespace"] for child in made.objects} == {"default"}


def test_a_spec_that_cannot_be_read_changes_nothing_but_what_is_said_of_it() -> None:
    before = ModelDeploymentStatus(
        phase="Ready", url="http://bot.default.svc.cluster.local/v1", ready_replicas=2
    )

    made = unreadable(before, generation=7, message="spec.replicas: Input should be an integer.", now=NOW)

    assert (made.objects, made.deletes, made.requeue_after) == ((), (), None)
    assert made.status is not None
    assert (made.status["phase"], made.status["observedGeneration"]) == ("Blocked", 7)
    assert (made.status["url"], made.status["readyReplicas"]) == (before.url, 2)
    assert conditions(made) == {"Accepted": ("False", "InvalidSpec")}


def test_what_was_noted_of_a_revision_stays_noted() -> None:
    notes = {
        "modelgarden.dev/scaled-at": "2026-11-21T11:40:00.000000Z",
        "modelgarden.dev/raised-at": "2026-11-21T11:30:00.000000Z",
    }

    child = planned(observed(deployments=(new(notes=notes),))).objects[1]

    assert notes.items() <= child["metadata"]["annotations"].items()


def test_fewer_replicas_are_noted_as_a_change_but_not_as_more_pods() -> None:
    raised = {"modelgarden.dev/raised-at": "2026-11-21T11:30:00.000000Z"}

    fewer = planned(observed(deployments=(new(ready=3, count=3, notes=SERVED | raised),))).objects[1]

    noted = fewer["metadata"]["annotations"]
    assert noted["modelgarden.dev/scaled-at"] == "2026-11-21T12:00:00.000000Z"
    assert noted["modelgarden.dev/raised-at"] == raised["modelgarden.dev/raised-at"]


def test_why_a_revision_was_rolled_back_is_noted_and_read_again() -> None:
    made = planned(observed(deployments=(old(), new(age=1801))))

    noted = next(child for child in made.objects if child["metadata"]["name"] == NEW_NAME)
    failed = json.loads(noted["metadata"]["annotations"]["modelgarden.dev/failed"])
    assert failed["reason"] == "ProgressDeadlineExceeded"
    assert failed["message"].startswith("0 of 1 replicas of revision")


def test_the_status_lists_the_revisions_newest_first() -> None:
    made = planned(observed(deployments=(old(), new(ready=1, age=1801, notes=FAILED))))

    assert made.status is not None
    assert made.status["replicas"] == 2
    assert made.status["revisions"] == [
        {
            "name": revision_hash(NEW), "state": "Failed", "replicas": 0, "readyReplicas": 1,
            "message": "vLLM knows no argument --flag.",
        },
        {"name": revision_hash(OLD), "state": "Active", "replicas": 1, "readyReplicas": 1},
    ]  # fmt: skip


def test_a_revision_without_a_pod_is_not_active() -> None:
    made = planned(observed(the_spec=spec(replicas=0), deployments=(new(count=0),)))

    assert state(made) == {revision_hash(NEW): "Progressing"}
    assert "modelgarden.dev/served" not in made.objects[1]["metadata"]["annotations"]


def test_the_first_rollout_is_one_until_its_last_pod_is_ready() -> None:
    made = planned(observed(the_spec=spec(replicas=2), deployments=(new(ready=1, count=2),)))

    assert conditions(made)["Ready"] == ("True", "Serving")
    assert phase(made) == "RollingOut"


def test_going_back_to_what_served_before_is_a_rollout() -> None:
    made = planned(observed(deployments=(old(), new(ready=1, notes=SERVED))))

    assert conditions(made)["Progressing"] == ("True", "RollingOut")
    assert phase(made) == "RollingOut"


def test_a_long_message_is_told_whole_up_to_two_kib() -> None:
    told = pod(
        NEW, **crashed("serve", 64, json.dumps({"reason": "InvalidConfiguration", "message": "x" * 700}))
    )

    made = planned(
        observed(deployments=(old(), new(notes={"modelgarden.dev/failed": long_failure()})), pods=(told,))
    )

    assert "y" * 1500 in message(made, "Degraded")


def long_failure() -> str:
    return json.dumps({"reason": "PodsFailing", "message": "y" * 1500})


def test_it_waits_for_the_job_that_it_names() -> None:
    waiting = Problem(
        "WaitingForFineTuneJob", "FineTuneJob 'tune' has no artifact yet; its phase is Training."
    )

    made = planned(observed(resolution=Resolution(problem=waiting, waits=True)))

    assert replicas(made) == {}
    assert phase(made) == "Pending"
    assert conditions(made)["ModelResolved"] == ("False", "WaitingForFineTuneJob")
    assert conditions(made)["Progressing"] == ("False", "WaitingForFineTuneJob")
    assert made.requeue_after is None


def test_a_refused_secret_blocks_and_is_looked_at_again() -> None:
    refused = Problem("SecretNotFound", "Secret 's3' does not exist; create it.")

    made = planned(observed(resolution=Resolution(refused=refused)))

    assert replicas(made) == {}
    assert phase(made) == "Blocked"
    assert conditions(made)["Accepted"] == ("False", "SecretNotFound")
    assert made.requeue_after == 5
    assert made.event is not None
    assert (made.event.type, made.event.reason) == ("Warning", "SecretNotFound")


def test_a_mended_problem_is_seen_soon_however_old_it_is() -> None:
    problem = Resolution(problem=Problem("StorageUnavailable", "S3 does not answer"))
    first = planned(observed(resolution=problem))
    assert first.status is not None
    status = ModelDeploymentStatus.from_dict(first.status)

    waits = [
        planned(observed(resolution=problem, status=status, now=NOW + timedelta(seconds=age))).requeue_after
        for age in (0, 40, 4000)
    ]

    assert waits == [5, 5, 5]


def test_a_ready_revision_is_ready_and_noted_as_having_served() -> None:
    made = planned(observed(deployments=(new(ready=1),)))

    assert phase(made) == "Ready"
    assert conditions(made)["Ready"] == ("True", "Serving")
    assert conditions(made)["Progressing"] == ("False", "RolledOut")
    assert made.objects[1]["metadata"]["annotations"]["modelgarden.dev/served"] == "true"
    assert state(made) == {revision_hash(NEW): "Active"}


def test_a_settled_deployment_is_applied_as_it_was_before() -> None:
    first = planned(observed(deployments=(new(ready=1),)))
    settled = live(first.objects[1], ready=1)

    again = planned(observed(deployments=(settled,)))

    assert again.objects == first.objects


def test_a_new_artifact_rolls_out_beside_the_old_one() -> None:
    made = planned(observed(deployments=(old(),)))

    assert replicas(made) == {NEW_NAME: 1}
    assert state(made) == {revision_hash(NEW): "Progressing", revision_hash(OLD): "Retiring"}
    assert conditions(made)["Ready"] == ("False", "NotServing")
    assert "1 of an earlier one answer meanwhile" in message(made, "Ready")
    assert made.status is not None
    assert made.status["readyReplicas"] == 0


def test_a_new_engine_argument_leaves_it_ready_while_old_pods_answer_for_the_same_model() -> None:
    changed = spec(engine={"args": {"maxModelLen": 128}})

    made = planned(observed(the_spec=changed, deployments=(new(ready=1, notes=SERVED),)))

    assert conditions(made)["Ready"] == ("True", "Serving")
    assert conditions(made)["Progressing"] == ("True", "RollingOut")
    assert phase(made) == "RollingOut"


def test_no_more_replicas_answer_than_are_wanted_while_one_takes_the_place_of_another() -> None:
    changed = spec(engine={"args": {"maxModelLen": 128}})
    successor = live(made_of(wanted(changed)), ready=1, age=60)

    found = planned(observed(the_spec=changed, deployments=(new(ready=1, notes=SERVED), successor)))

    assert message(found, "Ready") == "1 of 1 replicas answer for the wanted model."
    assert found.status is not None
    assert found.status["readyReplicas"] == 1


def test_an_old_pod_makes_room_on_a_full_cluster() -> None:
    waiting = pod(NEW, **unschedulable(NO_GPU, seconds=30))
    serving = pod(OLD, "p0", phase="Running")

    made = planned(observed(deployments=(old(), new()), pods=(serving, waiting)))

    assert replicas(made) == {NEW_NAME: 1, OLD_NAME: 0}
    assert conditions(made)["Degraded"] == ("False", "Healthy")


def test_an_old_pod_gives_no_room_to_a_pod_that_fits_no_node() -> None:
    waiting = pod(NEW, **unschedulable(WRONG_NODE, seconds=300))

    made = planned(observed(deployments=(old(), new()), pods=(waiting,)))

    assert replicas(made) == {NEW_NAME: 1}


def test_a_pod_without_place_is_looked_at_again_when_its_grace_is_over() -> None:
    waiting = pod(NEW, **unschedulable(NO_GPU, seconds=5))

    made = planned(observed(deployments=(old(), new()), pods=(waiting,)))

    assert replicas(made) == {NEW_NAME: 1}
    assert made.requeue_after == pytest.approx(10)


def test_an_exceeded_quota_makes_an_old_pod_give_room() -> None:
    short = new()
    short["status"]["conditions"] = [
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
         "message": 'pods "bot-x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1',
         "lastTransitionTime": "2026-11-21T11:59:00Z"},
    ]  # fmt: skip

    assert replicas(planned(observed(deployments=(old(), short))))[OLD_NAME] == 0


def test_a_revision_past_its_deadline_is_rolled_back_and_says_why() -> None:
    the_spec = spec(rollout={"progressDeadlineSeconds": 1800})
    late = live(made_of(wanted(the_spec), replicas=1, annotations={}), age=1801)
    failing = pod(wanted(the_spec), **crashed("serve", 1))

    made = planned(observed(the_spec=the_spec, deployments=(old(ready=0, count=0), late), pods=(failing,)))

    assert replicas(made) == {late["metadata"]["name"]: 0, OLD_NAME: 1}
    assert state(made) == {revision_hash(wanted(the_spec)): "Failed", revision_hash(OLD): "Active"}
    assert conditions(made)["Degraded"] == ("True", "ProgressDeadlineExceeded")
    assert "exit code 1" in message(made, "Degraded")
    assert phase(made) == "Degraded"


@pytest.mark.parametrize(
    ("age", "want"), [(1700, 100), (1799.95, 0.1), (1800, 60), (5000, 60)],
    ids=["before the deadline", "in a moment", "at the deadline", "long after it"],
)  # fmt: skip
def test_a_revision_without_a_way_back_is_looked_at_at_its_deadline_and_seldom_after_it(
    age: float, want: float
) -> None:
    made = planned(observed(deployments=(new(),), now=NOW - timedelta(seconds=60) + timedelta(seconds=age)))

    assert made.requeue_after == pytest.approx(want)


def test_a_rolled_back_revision_is_not_tried_again() -> None:
    first = planned(observed(deployments=(old(), new(age=1801))))
    failed = live(next(c for c in first.objects if c["metadata"]["name"] == NEW_NAME))

    again = planned(observed(deployments=(old(), failed), now=NOW + timedelta(days=1)))

    assert replicas(again) == {NEW_NAME: 0}
    assert state(again)[revision_hash(NEW)] == "Failed"
    assert again.deletes == ()
    assert conditions(again)["Progressing"] == ("False", "ProgressDeadlineExceeded")


def test_another_spec_forgets_the_failed_revision() -> None:
    first = planned(observed(deployments=(old(), new(age=1801))))
    failed = live(next(c for c in first.objects if c["metadata"]["name"] == NEW_NAME))

    made = planned(
        observed(the_spec=spec(replicas=1, engine={"args": {"maxNumSeqs": 4}}), deployments=(old(), failed))
    )

    assert [name for _, name in made.deletes] == [NEW_NAME]
    assert sorted(replicas(made).values()) == [1]


def test_an_update_at_zero_replicas_has_its_time_from_the_scaling_up_on() -> None:
    idle = (old(ready=0, count=0), new(count=0, age=36_000))

    raised = planned(observed(deployments=idle))
    started = live(next(c for c in raised.objects if c["metadata"]["name"] == NEW_NAME), age=36_000)
    waits = planned(observed(deployments=(idle[0], started), now=NOW + timedelta(seconds=1790)))
    late = planned(observed(deployments=(idle[0], started), now=NOW + timedelta(seconds=1810)))

    assert replicas(raised) == {NEW_NAME: 1}
    assert replicas(late) == {NEW_NAME: 0, OLD_NAME: 1}
    assert [conditions(made)["Degraded"][1] for made in (raised, waits, late)] == [
        "Healthy", "Healthy", "ProgressDeadlineExceeded",
    ]  # fmt: skip


def test_after_an_outage_of_the_operator_a_rollout_goes_on_step_by_step() -> None:
    the_spec = spec(replicas=2)
    ready = pod(NEW, phase="Running", conditions=[
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T09:00:00Z"}
    ])  # fmt: skip
    half = (old(count=1), new(ready=1, age=20_000))

    raised = planned(observed(the_spec=the_spec, deployments=half, pods=(ready,)))
    started = live(next(c for c in raised.objects if c["metadata"]["name"] == NEW_NAME), ready=1, age=20_000)
    waits = planned(observed(the_spec=the_spec, deployments=(half[0], started), pods=(ready,)))

    assert replicas(raised)[NEW_NAME] == replicas(waits)[NEW_NAME] == 2
    assert conditions(waits)["Degraded"] == ("False", "Healthy")
    assert conditions(waits)["Progressing"] == ("True", "RollingOut")


def test_a_missed_probe_of_the_only_old_pod_does_not_end_it() -> None:
    made = planned(observed(deployments=(old(ready=0), new())))

    assert replicas(made) == {NEW_NAME: 1}


def test_what_the_program_refuses_is_rolled_back_at_once() -> None:
    refusing = pod(NEW, **crashed("serve", 64, TERMINATED))

    made = planned(observed(deployments=(old(), new()), pods=(refusing,)))

    assert conditions(made)["Degraded"] == ("True", "PodsFailing")
    assert "InvalidConfiguration: vLLM knows no argument --no-such-flag" in message(made, "Degraded")
    assert replicas(made)[NEW_NAME] == 0


def test_a_crash_is_told_before_the_deadline() -> None:
    failing = pod(NEW, **crashed("serve", 1))

    made = planned(observed(deployments=(new(),), pods=(failing,)))

    assert conditions(made)["Degraded"] == ("True", "PodsFailing")
    assert conditions(made)["Progressing"] == ("True", "RollingOut")


def test_old_revisions_go_when_the_new_one_has_served() -> None:
    made = planned(observed(deployments=(old(ready=0, count=0), new(ready=1, notes=SERVED))))

    assert [name for _, name in made.deletes] == [OLD_NAME]


def test_scaling_changes_the_replicas_of_the_same_revision() -> None:
    made = planned(observed(the_spec=spec(replicas=3), deployments=(new(ready=1, notes=SERVED),)))

    assert replicas(made) == {NEW_NAME: 3}
    assert phase(made) == "Ready"
    assert conditions(made)["Progressing"] == ("True", "RollingOut")


def test_a_deployment_that_someone_scaled_is_applied_again() -> None:
    before = planned(observed(deployments=(new(ready=1, notes=SERVED),))).objects[1]
    drifted = live({**before, "spec": {**before["spec"], "replicas": 4}}, ready=1)

    made = planned(observed(deployments=(drifted,)))

    assert replicas(made) == {NEW_NAME: 1}
    assert made.objects[1] != before


def test_what_is_scaled_to_zero_has_no_replica_that_answers() -> None:
    found = planned(observed(the_spec=spec(replicas=0), deployments=(new(ready=1, notes=SERVED),)))

    assert conditions(found)["Ready"] == ("False", "ScaledToZero")
    assert " 0 of 0 replicas are ready" in message(found, "Progressing")
    assert found.status is not None
    assert found.status["readyReplicas"] == 0


def test_no_replicas_is_no_trouble() -> None:
    made = planned(observed(the_spec=spec(replicas=0), deployments=(new(count=0, notes=SERVED),)))

    assert phase(made) == "ScaledToZero"
    assert conditions(made)["Ready"] == ("False", "ScaledToZero")
    assert conditions(made)["Degraded"] == ("False", "Healthy")


def test_storage_that_went_away_leaves_what_runs_and_starts_nothing_new() -> None:
    away = Resolution(artifact=artifact(), problem=Problem("StorageUnavailable", "S3 does not answer."))

    made = planned(observed(resolution=away, deployments=(old(),)))

    assert replicas(made) == {}
    assert conditions(made)["Degraded"] == ("True", "StorageUnavailable")
    assert conditions(made)["ModelResolved"] == ("True", "Resolved")
    assert made.requeue_after == 5


def test_another_job_that_is_not_done_leaves_the_earlier_model_serving_but_not_ready() -> None:
    waiting = Resolution(problem=Problem("WaitingForFineTuneJob", "not yet"), waits=True)

    made = planned(observed(resolution=waiting, deployments=(old(),)))

    assert replicas(made) == {}
    assert conditions(made)["Ready"] == ("False", "NotServing")
    assert phase(made) == "Pending"


def test_the_energy_of_the_pods_is_in_the_status_and_asked_for_again() -> None:
    running = pod(NEW, phase="Running", conditions=[READY])
    told = (report("uid-p1", joules=50, tokens=3),)

    made = planned(observed(deployments=(new(ready=1, notes=SERVED),), pods=(running,), reports=told))

    assert made.status is not None
    assert made.status["carbon"]["total"]["energyJoules"]["total"] == 50
    assert made.status["carbon"]["generatedTokens"] == 3
    assert made.requeue_after == 30


def test_a_pod_that_ends_is_asked_sooner() -> None:
    ending = pod(NEW, phase="Running")
    ending["metadata"]["deletionTimestamp"] = "2026-11-21T11:59:00Z"

    assert planned(observed(deployments=(new(ready=1, notes=SERVED),), pods=(ending,))).requeue_after == 5


def test_the_energy_of_a_pod_that_is_gone_stays_in_the_status() -> None:
    first = planned(
        observed(
            deployments=(new(ready=1, notes=SERVED),),
            pods=(pod(NEW, phase="Running"),),
            reports=(report("uid-p1", joules=50),),
        )
    )
    assert first.status is not None

    second = planned(
        observed(
            deployments=(new(ready=1, notes=SERVED),),
            pods=(pod(NEW, "p2", phase="Running"),),
            reports=(report("uid-p2", joules=7, start=60),),
            status=ModelDeploymentStatus.from_dict(first.status),
        )
    )

    assert second.status is not None
    total = second.status["carbon"]["total"]
    assert total["energyJoules"]["total"] == 57
    assert {one["id"]: one["reason"] for one in total["attempts"]} == {
        "uid-p1": "Terminated",
        "uid-p2": "Running",
    }


def test_the_energy_stays_in_the_status_between_two_questions() -> None:
    told = (report("uid-p1", joules=50),)
    first = planned(
        observed(deployments=(new(ready=1, notes=SERVED),), pods=(pod(NEW, phase="Running"),), reports=told)
    )
    assert first.status is not None
    status = ModelDeploymentStatus.from_dict(first.status)

    again = planned(observed(deployments=(new(ready=1, notes=SERVED),), status=status))

    assert again.status is not None
    assert again.status["carbon"] == first.status["carbon"]


def test_other_carbon_factors_take_effect_without_a_new_pod() -> None:
    told = (report("uid-p1", joules=3_600_000),)
    running = pod(NEW, phase="Running")
    first = planned(observed(deployments=(new(ready=1, notes=SERVED),), pods=(running,), reports=told))
    assert first.status is not None
    settled = live(first.objects[1], ready=1)
    status = ModelDeploymentStatus.from_dict(first.status)

    again = planned(
        observed(
            the_spec=spec(carbon={"zone": "FRA", "pue": 2.0}),
            deployments=(settled,),
            pods=(running,),
            status=status,
        )
    )

    assert first.status["carbon"]["total"]["state"] == "Partial"  # no zone
    assert again.objects == first.objects
    assert again.status is not None
    total = again.status["carbon"]["total"]
    assert (total["intensity"]["zone"], total["pueMilli"], total["pueSource"]) == ("FRA", 2000, "Spec")
    assert total["emissionsMilligrams"] == total["intensity"]["milligramsPerKWh"] * 2


def test_a_pod_that_serves_without_ever_answering_is_told_of() -> None:
    since = {"running": {"startedAt": "2026-11-21T11:58:00Z"}}
    silent = pod(
        NEW,
        "p2",
        phase="Running",
        containerStatuses=[{"name": "serve", "image": "i", "ready": True, "state": since}],
    )
    seen = observed(
        the_spec=spec(carbon={"zone": "DEU"}),
        deployments=(new(ready=2, count=2, notes=SERVED),),
        pods=(pod(NEW, phase="Running"), silent),
        reports=(report("uid-p1", joules=50),),
    )

    made = planned(seen)

    assert made.status is not None
    assert made.status["carbon"]["total"]["state"] == "Partial"


def test_times_stay_while_nothing_flips() -> None:
    first = planned(observed(deployments=(new(ready=1, notes=SERVED),)))
    assert first.status is not None
    status = ModelDeploymentStatus.from_dict(first.status)

    later = planned(
        observed(deployments=(new(ready=1, notes=SERVED),), status=status, now=NOW + timedelta(hours=1))
    )

    assert later.status == first.status


def test_the_artifact_is_named() -> None:
    made = planned(observed())

    assert made.status is not None
    assert made.status["artifact"]["sha256"] == DIGEST


def test_what_the_kubelet_says_of_a_pod_that_does_not_start_is_told() -> None:
    starting = pod(NEW)
    stuck = {
        "uid-p1": Problem("StartFailed", "Pod p1 does not start: FailedCreatePodSandBox: too little memory")
    }

    made = planned(observed(deployments=(new(),), pods=(starting,), said=PodsSaid(stuck=stuck)))

    assert conditions(made)["Degraded"] == ("True", "StartFailed")
    assert "FailedCreatePodSandBox" in message(made, "Progressing")
    assert made.requeue_after == 10


def test_what_a_rollback_returned_to_is_put_right_where_somebody_changes_it() -> None:
    failed = {"modelgarden.dev/failed": '{"reason": "PodsFailing", "message": "it ends"}'}
    before, after = old(), new(count=0, notes=failed)
    assert replicas(planned(observed(deployments=(before, after)))) == {NEW_NAME: 0}
    changed = copy.deepcopy(before)
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "example.com/other:1"

    made = planned(observed(deployments=(changed, after)))

    (repaired,) = [child for child in made.objects if child["metadata"]["name"] == OLD_NAME]
    assert repaired["spec"] == before["spec"]
    assert repaired["metadata"]["annotations"] == before["metadata"]["annotations"]


def changed_by_somebody(deployment: dict[str, Any]) -> dict[str, Any]:
    """Return a Deployment of which one of two pods still is what somebody else made of it."""
    return {**deployment, "status": {"replicas": 2, "updatedReplicas": 1, "readyReplicas": 1}}


def strategy(made: Plan, name: str = NEW_NAME) -> dict[str, int] | None:
    found = [child for child in made.objects if child["metadata"]["name"] == name]
    return found[0]["spec"]["strategy"]["rollingUpdate"] if found else None


ONE_MORE, ONE_BY_ONE = {"maxSurge": 1, "maxUnavailable": 0}, {"maxSurge": 0, "maxUnavailable": 1}


@pytest.mark.parametrize(
    ("waits", "want"), [(14, ONE_MORE), (15, ONE_BY_ONE)], ids=["for a moment", "in vain"]
)
def test_a_pod_of_somebody_else_s_making_makes_room_where_its_successor_finds_none(
    waits: int, want: dict[str, int]
) -> None:
    waiting = pod(NEW, **unschedulable(NO_GPU, seconds=waits))
    one = new(ready=1, notes=SERVED)

    assert strategy(planned(observed(deployments=(changed_by_somebody(one),), pods=(waiting,)))) == want
    assert strategy(planned(observed(deployments=(one,), pods=(waiting,)))) == ONE_MORE


def test_pods_of_somebody_else_s_making_go_on_making_room_until_the_last_is_gone() -> None:
    waiting = pod(NEW, **unschedulable(NO_GPU, seconds=20))
    one = changed_by_somebody(new(ready=1, notes=SERVED))
    (_, first) = planned(observed(deployments=(one,), pods=(waiting,))).objects
    made_room = live(first, ready=1)

    assert strategy(planned(observed(deployments=(changed_by_somebody(made_room),)))) == ONE_BY_ONE
    assert strategy(planned(observed(deployments=(made_room,)))) == ONE_MORE


def test_what_a_rollback_returned_to_makes_room_likewise() -> None:
    failed = {"modelgarden.dev/failed": '{"reason": "PodsFailing", "message": "it ends"}'}
    after = new(count=0, notes=failed)
    waiting = pod(OLD, **unschedulable(NO_GPU, seconds=20))

    made = planned(observed(deployments=(changed_by_somebody(old()), after), pods=(waiting,)))

    assert strategy(made, OLD_NAME) == ONE_BY_ONE
    assert strategy(planned(observed(deployments=(old(), after))), OLD_NAME) is None


def engine(*named: str, answers: bool = True) -> PodsSaid:
    """Return what the pod `p1` says of its engine."""
    told = EngineReport(attempt="uid-p1", awaited="bot", named=named if answers else None)
    return PodsSaid(engines={"uid-p1": told})


def test_what_a_pod_awaits_whose_engine_does_not_answer_yet_is_told_and_is_no_fault() -> None:
    loading = pod(NEW, phase="Running")

    made = planned(observed(deployments=(new(),), pods=(loading,), said=engine(answers=False)))

    assert conditions(made)["Progressing"] == ("True", "RollingOut")
    assert message(made, "Progressing").endswith(
        "0 of 1 replicas are ready. Pod p1 awaits model 'bot'; its engine does not answer yet."
    )
    assert conditions(made)["Degraded"] == ("False", "Healthy")
    assert made.requeue_after == 10


@pytest.mark.parametrize(("named", "told"), [(("evil", "more"), "'evil', 'more'"), ((), "no model")])
def test_a_pod_that_serves_another_model_says_which_and_what_is_awaited(
    named: tuple[str, ...], told: str
) -> None:
    running = pod(NEW, phase="Running")

    made = planned(observed(deployments=(new(),), pods=(running,), said=engine(*named)))

    said = f"Pod p1 awaits model 'bot', and /v1/models names {told} instead. Correct engine.extraArgs, or the image."
    assert message(made, "Progressing").endswith(said)
    assert conditions(made)["Degraded"] == ("True", "PodsFailing")
    assert message(made, "Degraded") == said


def test_a_pod_whose_engine_names_the_wanted_model_lacks_nothing_but_its_probe() -> None:
    running = pod(NEW, phase="Running")

    made = planned(observed(deployments=(new(),), pods=(running,), said=engine("evil", "bot")))

    assert message(made, "Progressing").endswith("replicas are ready.")
    assert conditions(made)["Degraded"] == ("False", "Healthy")


def test_a_rollback_says_what_the_pods_awaited_to_the_last() -> None:
    loading = pod(NEW, phase="Running")
    seen = observed(
        the_spec=spec(), deployments=(old(), new(age=1900)), pods=(loading,), said=engine(answers=False)
    )

    made = planned(seen)

    assert conditions(made)["Degraded"] == ("True", "ProgressDeadlineExceeded")
    assert "Pod p1 awaits model 'bot'; its engine does not answer yet." in message(made, "Degraded")


def test_the_served_name_is_the_resource_s_own_unless_the_spec_gives_another() -> None:
    names = [
        made.status["servedModelName"]
        for the_spec in (spec(), spec(servedModelName="support"))
        if (made := planned(observed(the_spec=the_spec))).status is not None
    ]

    assert names == ["bot", "support"]

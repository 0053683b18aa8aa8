"""Rolling out, scaling, rolling back and accounting of a ModelDeployment, over real Deployments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from modelgarden.api import names
from modelgarden.api.conditions import REASONS
from modelgarden.kube.resources import DEPLOYMENTS, MODELDEPLOYMENTS, SERVICES
from tests.integration.harness.api import Api, Obj, condition, phase, reason
from tests.integration.harness.garden import Garden
from tests.integration.harness.reports import pod_report
from tests.integration.harness.waiting import stays, wait_for
from tests.integration.serving_node import ServingNode
from tests.unit.serving.builders import report

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture
def serving(api: Api, namespace: str) -> ServingNode:
    """Who plays the nodes."""
    return ServingNode(api, namespace)


def shows(garden: Garden, want: str) -> Callable[[], Obj]:
    """Return the condition that the ModelDeployment has a phase and was observed at its generation."""

    def reached() -> Obj:
        found = garden.modeldeployment("bot")
        assert phase(found) == want, found.get("status")
        assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
        return found

    return reached


def rolled_out(garden: Garden, serving: ServingNode, **spec: Any) -> Obj:
    """Create a ModelDeployment and bring it to its first ready revision."""
    garden.create_modeldeployment("bot", **spec)
    found: Obj = serving.play_until(shows(garden, "Ready"), what="the first revision")
    return found


def change(api: Api, garden: Garden, **spec: Any) -> None:
    api.merge(MODELDEPLOYMENTS, garden.modeldeployment("bot"), {"spec": spec})


def active(found: Obj) -> str:
    (name,) = (one["name"] for one in found["status"]["revisions"] if one["state"] == "Active")
    return str(name)


def engine(**args: Any) -> dict[str, Any]:
    return {"args": args}


def of_revision(pod: Obj, revision: str) -> bool:
    return bool(pod["metadata"]["labels"][names.REVISION_LABEL] == revision)


def test_the_first_revision_becomes_ready(garden: Garden, serving: ServingNode, api: Api) -> None:
    found = rolled_out(garden, serving, replicas=2)

    status = found["status"]
    assert condition(found, "Ready")["status"] == "True"
    assert condition(found, "ModelResolved")["status"] == "True"
    assert (status["replicas"], status["readyReplicas"]) == (2, 2)
    assert status["url"] == f"http://bot.{garden.namespace}.svc.cluster.local/v1"
    assert status["artifact"]["uri"] == f"s3://{garden.bucket}/model"
    assert {one["reason"] for one in status["conditions"]} <= set(REASONS)
    service = api.get(SERVICES, garden.namespace, "bot")
    assert service is not None
    assert service["spec"]["selector"] == {names.MODELDEPLOYMENT_LABEL: "bot"}
    assert service["spec"]["ports"][0]["targetPort"] == 8000


def test_scaling_makes_no_revision(garden: Garden, serving: ServingNode, api: Api) -> None:
    before = active(rolled_out(garden, serving))

    api.merge(MODELDEPLOYMENTS, garden.modeldeployment("bot"), {"spec": {"replicas": 3}}, subresource="scale")
    serving.play_until(
        lambda: garden.modeldeployment("bot")["status"]["readyReplicas"] == 3, what="three pods"
    )
    api.merge(MODELDEPLOYMENTS, garden.modeldeployment("bot"), {"spec": {"replicas": 0}}, subresource="scale")
    serving.play_until(shows(garden, "ScaledToZero"))

    assert set(serving.deployments()) == {before}
    # A Deployment no longer counts a pod that is on its way out.
    serving.play_until(lambda: serving.pods() == [], what="the end of the last pod")
    assert serving.pods() == []
    api.merge(MODELDEPLOYMENTS, garden.modeldeployment("bot"), {"spec": {"replicas": 1}}, subresource="scale")
    assert active(serving.play_until(shows(garden, "Ready"))) == before


def test_a_new_revision_replaces_the_old_one_without_a_gap(
    garden: Garden, serving: ServingNode, api: Api
) -> None:
    before = active(rolled_out(garden, serving, replicas=2))
    serving.fewest_ready = 2

    change(api, garden, engine=engine(maxModelLen=128))
    after = active(serving.play_until(shows(garden, "Ready"), what="the new revision"))

    assert after != before
    serving.play_until(lambda: set(serving.deployments()) == {after}, what="the end of the old Deployment")
    assert serving.fewest_ready == 2


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_rollout_ends_with_exactly_the_gpus_it_has(
    garden: Garden, serving: ServingNode, api: Api, replicas: int
) -> None:
    serving.places = replicas
    before = active(rolled_out(garden, serving, replicas=replicas))
    serving.fewest_ready = replicas

    change(api, garden, engine=engine(maxModelLen=128))
    after = active(serving.play_until(shows(garden, "Ready"), 90, what="the new revision"))

    assert after != before
    assert serving.fewest_ready >= replicas - 1


def test_a_revision_that_does_not_become_ready_is_rolled_back(
    garden: Garden, serving: ServingNode, api: Api
) -> None:
    before = active(rolled_out(garden, serving, replicas=2, rollout={"progressDeadlineSeconds": 10}))
    serving.fewest_ready = 2
    serving.healthy = lambda pod: of_revision(pod, before)

    change(api, garden, engine=engine(maxModelLen=128))
    crashing = serving.play_until(shows(garden, "Degraded"), what="the crash in the status")
    assert reason(crashing, "Degraded") == "PodsFailing"

    failed = serving.play_until(
        lambda: (
            (found := garden.modeldeployment("bot"))
            and reason(found, "Progressing") == "ProgressDeadlineExceeded"
            and found
        ),
        what="the rollback",
    )
    assert phase(failed) == "Degraded"
    assert "vLLM ended before it was ready" in condition(failed, "Degraded")["message"]
    states = {one["name"]: one["state"] for one in failed["status"]["revisions"]}
    assert states.pop(before) == "Active"
    assert set(states.values()) == {"Failed"}
    serving.play_until(
        lambda: len(serving.pods()) == 2 and all(of_revision(p, before) for p in serving.pods())
    )
    assert serving.fewest_ready == 2
    stays(lambda: len(serving.pods()) == 2, 2, what="no new try")

    serving.healthy = lambda _: True
    change(api, garden, engine=engine(maxModelLen=256))
    after = active(serving.play_until(shows(garden, "Ready"), what="the corrected spec"))
    serving.play_until(lambda: set(serving.deployments()) == {after}, what="the end of both old Deployments")


def test_what_vllm_refuses_is_rolled_back_at_once(garden: Garden, serving: ServingNode, api: Api) -> None:
    serving.places = 1
    before = active(rolled_out(garden, serving))
    serving.exit_code = names.EXIT_USER_ERROR
    serving.healthy = lambda pod: of_revision(pod, before)

    change(api, garden, engine={"extraArgs": ["--no-such-argument"]})
    failed = serving.play_until(
        lambda: (
            (found := garden.modeldeployment("bot"))
            and any(one["state"] == "Failed" for one in found["status"]["revisions"])
            and found
        ),
        what="the rollback",
    )

    assert reason(failed, "Degraded") == "PodsFailing"
    serving.play_until(
        lambda: [p for p in serving.ready() if of_revision(p, before)], what="the old revision"
    )
    (name,) = (one["name"] for one in failed["status"]["revisions"] if one["state"] == "Failed")
    assert f"delete Deployment bot-{name} to try the same again" in condition(failed, "Degraded")["message"]

    serving.healthy = lambda _: True
    api.delete(DEPLOYMENTS, garden.namespace, f"bot-{name}")

    assert active(serving.play_until(shows(garden, "Ready"), what="the next try")) == name


def test_a_deployment_that_someone_else_scaled_is_put_right(
    garden: Garden, serving: ServingNode, api: Api
) -> None:
    rolled_out(garden, serving)
    (deployment,) = serving.deployments().values()

    scaled = api.merge(DEPLOYMENTS, deployment, {"spec": {"replicas": 4}}, subresource="scale")

    assert scaled["spec"]["replicas"] == 4

    serving.play_until(lambda: next(iter(serving.deployments().values()))["spec"]["replicas"] == 1)


@pytest.mark.parametrize(
    "change",
    [
        {"selector": {"app": "another"}},
        {"ports": [{"name": "http", "port": 8000, "targetPort": 8000}]},
        {"type": "NodePort"},
    ],
)
def test_a_service_that_someone_else_changed_is_put_right(
    change: Obj, garden: Garden, serving: ServingNode, api: Api
) -> None:
    rolled_out(garden, serving)
    before = api.get(SERVICES, garden.namespace, "bot")
    assert before is not None

    assert api.merge(SERVICES, before, {"spec": change})["spec"] != before["spec"]

    def spec() -> Obj:
        now = api.get(SERVICES, garden.namespace, "bot")
        assert now is not None
        return dict(now["spec"])

    wait_for(lambda: spec() == before["spec"], what="the Service as it was")


def test_a_deployment_in_which_someone_else_changed_what_runs_is_put_right(
    garden: Garden, serving: ServingNode, api: Api
) -> None:
    rolled_out(garden, serving)
    (before,) = serving.deployments().values()
    containers = [{**before["spec"]["template"]["spec"]["containers"][0], "image": "example.com/other:1"}]

    api.merge(DEPLOYMENTS, before, {"spec": {"template": {"spec": {"containers": containers}}}})

    def as_it_was() -> bool:
        (now,) = serving.deployments().values()
        return bool(now["spec"]["template"] == before["spec"]["template"])

    serving.play_until(as_it_was, what="the Deployment as it was")


def other_image(deployment: Obj) -> Obj:
    """Return what somebody may make of the pods of a Deployment: another image."""
    serve = deployment["spec"]["template"]["spec"]["containers"][0]
    return {"spec": {"containers": [{**serve, "image": "example.com/other:1"}]}}


def other_label(deployment: Obj) -> Obj:
    """Return the same with another value of a label."""
    return {"metadata": {"labels": {"team": "other"}}}


@pytest.mark.parametrize("change", [other_image, other_label])
@pytest.mark.parametrize(
    ("places", "starts_at_once"),
    [(10, False), (10, True), (1, False)],
    ids=["with room for another pod", "the other pod is ready before it is put right", "without room"],
)
def test_what_serves_goes_on_while_a_changed_deployment_is_put_right(
    garden: Garden,
    serving: ServingNode,
    api: Api,
    change: Callable[[Obj], Obj],
    places: int,
    starts_at_once: bool,
) -> None:
    serving.places = places
    rolled_out(garden, serving, podTemplate={"labels": {"team": "search"}})
    (before,) = serving.deployments().values()
    (serves,) = serving.ready()
    serving.fewest_ready = 1
    if not starts_at_once:  # a model takes a minute
        serving.healthy = lambda pod: bool(pod["metadata"]["uid"] == serves["metadata"]["uid"])

    api.merge(DEPLOYMENTS, before, {"spec": {"template": change(before)}})

    def as_it_was() -> bool:
        (now,) = serving.deployments().values()
        assert now["status"]["observedGeneration"] == now["metadata"]["generation"]
        assert now["spec"]["template"] == before["spec"]["template"]
        pods = serving.pods()
        assert [pod["metadata"]["labels"]["team"] for pod in pods] == ["search"]
        return starts_at_once or bool(pods[0]["metadata"]["uid"] == serves["metadata"]["uid"])

    serving.play_until(as_it_was, what="the Deployment as it was, and the very pod that served")
    assert serving.fewest_ready == 1


def test_a_deployment_that_lost_its_label_is_labelled_again_and_stays_known(
    garden: Garden, serving: ServingNode, api: Api
) -> None:
    """Without the label no watch tells of it."""
    rolled_out(garden, serving)
    (deployment,) = serving.deployments().values()

    bare = api.merge(DEPLOYMENTS, deployment, {"metadata": {"labels": {names.MANAGED_BY_LABEL: None}}})
    assert names.MANAGED_BY_LABEL not in bare["metadata"]["labels"]

    def labelled() -> Obj | None:
        (now,) = serving.deployments().values()
        return now if now["metadata"]["labels"].get(names.MANAGED_BY_LABEL) == names.MANAGED_BY else None

    now = wait_for(labelled, what="the label")
    assert now is not None
    assert now["metadata"]["annotations"] == deployment["metadata"]["annotations"], (
        "its notes are still known"
    )
    change(api, garden, replicas=2)
    serving.play_until(lambda: shows(garden, "Ready")()["status"]["readyReplicas"] == 2)


def test_a_service_that_someone_else_deleted_is_made_again(
    garden: Garden, serving: ServingNode, api: Api
) -> None:
    rolled_out(garden, serving)

    before = api.get(SERVICES, garden.namespace, "bot")
    assert before is not None
    api.delete(SERVICES, garden.namespace, "bot")

    def made_again() -> bool:
        now = api.get(SERVICES, garden.namespace, "bot")
        return now is not None and now["metadata"]["uid"] != before["metadata"]["uid"]

    wait_for(made_again, what="the next Service")


def test_deleting_it_deletes_what_it_made_and_a_namesake_serves(
    garden: Garden, serving: ServingNode, api: Api
) -> None:
    rolled_out(garden, serving)

    api.delete(MODELDEPLOYMENTS, garden.namespace, "bot")

    wait_for(lambda: not serving.deployments() and not serving.pods(), 60, what="the end of the pods")
    wait_for(lambda: api.get(SERVICES, garden.namespace, "bot") is None, what="the end of the Service")

    namesake = rolled_out(garden, serving)
    service = api.get(SERVICES, garden.namespace, "bot")
    assert service is not None
    assert service["metadata"]["ownerReferences"][0]["uid"] == namesake["metadata"]["uid"]


def test_the_energy_of_a_pod_outlives_it(garden: Garden, serving: ServingNode, api: Api) -> None:
    garden.create_modeldeployment("bot", carbon={"zone": "DEU", "pue": 1.2})
    (pod,) = wait_for(serving.pods, what="the pod")
    uid = pod["metadata"]["uid"]
    serving.addresses[pod["metadata"]["name"]] = "127.0.0.31"
    with pod_report("127.0.0.31", carbon=report(uid, joules=5000, idle=2000, tokens=300).to_dict()):
        serving.play_until(lambda: "carbon" in garden.modeldeployment("bot")["status"], what="the energy")
    told = garden.modeldeployment("bot")["status"]["carbon"]
    assert told["total"]["energyJoules"]["total"] == 5000
    assert (told["idleJoules"], told["generatedTokens"]) == (2000, 300)
    assert told["milligramsPer1000Tokens"] == "1269.833"

    change(api, garden, engine=engine(maxModelLen=128))
    serving.play_until(
        lambda: all(one["metadata"]["uid"] != uid for one in serving.pods()), what="another pod"
    )
    serving.play_until(shows(garden, "Ready"))

    assert garden.modeldeployment("bot")["status"]["carbon"]["total"]["energyJoules"]["total"] == 5000

"""Restarts of the operator between and in rollouts of a ModelDeployment."""

from __future__ import annotations

import pytest

from modelgarden.kube.resources import DEPLOYMENTS, MODELDEPLOYMENTS
from tests.integration.conftest import StartOperator
from tests.integration.harness.api import Api, Obj, phase
from tests.integration.harness.garden import Garden
from tests.integration.harness.process import OperatorProcess
from tests.integration.harness.waiting import stays, wait_for
from tests.integration.serving_node import ServingNode


@pytest.fixture
def serving(api: Api, namespace: str) -> ServingNode:
    """Who plays the nodes."""
    return ServingNode(api, namespace)


def becomes_ready(garden: Garden, serving: ServingNode) -> Obj:
    """Play the nodes until the newest generation is served."""

    def reached() -> Obj:
        found = garden.modeldeployment("bot")
        assert phase(found) == "Ready", found.get("status")
        assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
        return found

    ready: Obj = serving.play_until(reached, 90, what="phase Ready")
    return ready


def test_a_restart_in_mid_rollout_changes_nothing(
    garden: Garden, serving: ServingNode, api: Api, start_operator: StartOperator
) -> None:
    first: OperatorProcess = start_operator()
    garden.create_modeldeployment("bot", replicas=3)
    becomes_ready(garden, serving)
    (before,) = serving.deployments()
    serving.fewest_ready = 3
    api.merge(
        MODELDEPLOYMENTS, garden.modeldeployment("bot"), {"spec": {"engine": {"args": {"maxModelLen": 128}}}}
    )
    serving.play_until(lambda: len(serving.deployments()) == 2, what="the new Deployment")
    first.kill()
    start_operator()

    becomes_ready(garden, serving)

    assert serving.fewest_ready == 3
    serving.play_until(lambda: len(serving.deployments()) == 1, what="the end of the old Deployment")
    assert before not in serving.deployments()


def test_a_settled_deployment_costs_no_write_after_a_restart(
    garden: Garden, serving: ServingNode, start_operator: StartOperator
) -> None:
    first: OperatorProcess = start_operator()
    # Quantities that the API server writes in another form: 1 and 1536Mi.
    garden.create_modeldeployment("bot", resources={"gpus": 0, "cpu": "1000m", "memory": "1.5Gi"})
    becomes_ready(garden, serving)
    wait_for(lambda: serving.deployments() and _settled(serving), what="the note that it served")
    first.stop()

    second: OperatorProcess = start_operator()
    wait_for(lambda: second.metric("modelgarden_reconcile_seconds_count") > 0, what="a reconcile")
    stays(lambda: not second.writes(), 3, what="no write")


def test_a_pod_of_somebody_elses_making_gives_way_though_there_is_no_room_beside_it(
    garden: Garden, serving: ServingNode, api: Api, start_operator: StartOperator
) -> None:
    """It serves already, as nobody was there to put the Deployment right before."""
    serving.places = replicas = 2
    first: OperatorProcess = start_operator()
    garden.create_modeldeployment("bot", replicas=replicas)
    becomes_ready(garden, serving)
    (before,) = serving.deployments().values()
    wait_for(lambda: _settled(serving), what="the note that it served")
    first.stop()
    (serve,) = before["spec"]["template"]["spec"]["containers"]
    others = {"spec": {"containers": [{**serve, "image": "example.com/other:1"}]}}
    api.merge(DEPLOYMENTS, before, {"spec": {"template": others}})
    serving.places += 1
    serving.play_until(lambda: _images(serving) == ["example.com/other:1"] * replicas, what="other pods")
    serving.places = replicas
    serving.fewest_ready = replicas

    start_operator()

    def as_declared() -> bool:
        (now,) = serving.deployments().values()
        return _images(serving) == [serve["image"]] * replicas and bool(now["spec"] == before["spec"])

    serving.play_until(as_declared, 120, what="pods of what was declared")
    assert serving.fewest_ready == replicas - 1
    assert len(serving.ready()) == replicas


def _images(serving: ServingNode) -> list[str]:
    return [pod["spec"]["containers"][0]["image"] for pod in serving.pods()]


def _settled(serving: ServingNode) -> bool:
    (deployment,) = serving.deployments().values()
    return bool(deployment["metadata"]["annotations"].get("modelgarden.dev/served") == "true")

"""What an upgrade does to what runs: nothing. It begins with the objects that an earlier version made (`upgrade/`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hack.cluster import ControlPlane, S3Server
from modelgarden.api import names
from modelgarden.kube.resources import (
    DEPLOYMENTS,
    FINETUNEJOBS,
    JOBS,
    MODELDEPLOYMENTS,
    PODS,
    SERVICES,
    Resource,
)
from tests.integration.conftest import StartOperator
from tests.integration.harness.api import Api, Obj, phase
from tests.integration.harness.garden import Garden
from tests.integration.harness.node import FakeNode
from tests.integration.harness.process import PROGRAM, OperatorProcess
from tests.integration.harness.waiting import stays, wait_for
from tests.integration.serving_node import ServingNode
from tests.integration.trainer import Trainer
from tests.integration.upgrade import scene
from tests.integration.upgrade.restore import restore

OTHER_TEMPLATES = (str(Path(__file__).parent / "upgrade" / "other_templates.py"),)
ONLY_TOLD = {"FineTuneJob", "ModelDeployment", "Event"}
"""Kinds that are written where nothing is to be done: a status, an event."""
UNSEEN_BY_PODS: dict[Resource, Obj] = {
    FINETUNEJOBS: {"ttlSecondsAfterFinished": 604_800},
    MODELDEPLOYMENTS: {"carbon": {"zone": "FRA"}},
}
"""A change of each kind's spec that reaches no pod."""


@pytest.fixture
def restored(cluster: ControlPlane, api: Api, s3: S3Server) -> Iterator[Garden]:
    """The namespace as the earlier version left it."""
    garden = scene.prepare(api, s3)
    restore(cluster, garden)
    yield garden
    for resource in (FINETUNEJOBS, MODELDEPLOYMENTS):
        api.delete_all(resource, garden.namespace)


@pytest.fixture
def upgraded(restored: Garden, start_operator: StartOperator) -> OperatorProcess:
    """This version of the operator, over what the earlier one left."""
    return start_operator(watch_namespaces=restored.namespace)


@pytest.fixture
def node(api: Api) -> FakeNode:
    """Who says how the pods of FineTuneJobs fare."""
    return FakeNode(api, scene.NAMESPACE)


@pytest.mark.parametrize(
    "program",
    [pytest.param(PROGRAM, id="this version"), pytest.param(OTHER_TEMPLATES, id="one with other templates")],
)
def test_an_upgrade_writes_no_job_and_no_deployment(
    api: Api, restored: Garden, start_operator: StartOperator, program: tuple[str, ...]
) -> None:
    kept, told = children(api, restored.namespace), statuses(api)
    assert {name: one["phase"] for name, one in told.items()} == phases_wanted()

    operator = start_operator(watch_namespaces=restored.namespace, program=program)
    operator.wait_until_idle(reconciles=len(scene.OWNERS))
    assert statuses(api) == told

    have_looked_at(api, restored.namespace)
    stays(lambda: unchanged(api, restored.namespace, kept), 3)
    assert statuses(api) == told
    assert written(operator) <= ONLY_TOLD


def test_what_this_version_made_one_with_other_templates_does_not_write(
    api: Api, garden: Garden, start_operator: StartOperator
) -> None:
    first = start_operator()
    garden.create_finetunejob("tune")
    FakeNode(api, garden.namespace).run("tune-prepare")
    garden.create_modeldeployment("bot", replicas=2)
    serving = ServingNode(api, garden.namespace)
    serving.play_until(lambda: served(serving), what="the first revision")
    wait_for(has_phase(garden, "tune", "Preparing"), what="Preparing")
    assert first.stop() == 0
    kept = children(api, garden.namespace)

    second = start_operator(program=OTHER_TEMPLATES)

    have_looked_at(api, garden.namespace)
    stays(lambda: unchanged(api, garden.namespace, kept), 3)
    assert written(second) <= ONLY_TOLD


def test_a_revision_that_another_version_makes_has_its_template(
    api: Api, restored: Garden, start_operator: StartOperator
) -> None:
    """Else what is tested above of other templates could not fail."""
    start_operator(watch_namespaces=restored.namespace, program=OTHER_TEMPLATES)
    serving = ServingNode(api, restored.namespace, "of-folder")
    before = set(serving.deployments())

    change(api, "of-folder", engine(maxModelLen=256))

    wait_for(lambda: set(serving.deployments()) > before, what="the new Deployment")
    (made,) = [one for name, one in serving.deployments().items() if name not in before]
    template = made["spec"]["template"]["spec"]
    assert template["terminationGracePeriodSeconds"] == 600
    assert "LATER_VERSION" in {one["name"] for one in template["containers"][0]["env"]}


@pytest.mark.usefixtures("upgraded")
@pytest.mark.parametrize("name", ["of-job", "of-folder", "with-all"])
def test_what_is_declared_anew_rolls_out(api: Api, restored: Garden, name: str) -> None:
    serving = ServingNode(api, restored.namespace, name)
    (before,) = serving.deployments()
    ready = len(serving.ready())
    serving.fewest_ready = ready

    change(api, name, engine(maxModelLen=256))

    serving.play_until(lambda: settled(api, serving, name), 90, what="the new revision")
    assert before not in serving.deployments()
    assert serving.fewest_ready == ready


@pytest.mark.usefixtures("upgraded")
def test_a_rollout_under_way_goes_on_to_what_it_was_rolling_to(api: Api, restored: Garden) -> None:
    serving = ServingNode(api, restored.namespace, "rolling")
    (new,) = [name for name, one in serving.deployments().items() if one["spec"]["replicas"] == 2]

    serving.play_until(lambda: settled(api, serving, "rolling"), 90, what="the end of the rollout")

    assert set(serving.deployments()) == {new}


@pytest.mark.usefixtures("upgraded")
def test_a_revision_that_served_before_is_found_again(api: Api, restored: Garden) -> None:
    serving = ServingNode(api, restored.namespace, "rolled-back")
    (before,) = [name for name, one in serving.deployments().items() if one["spec"]["replicas"] == 2]
    pods = {pod["metadata"]["uid"] for pod in serving.pods()}

    change(api, "rolled-back", engine(maxModelLen=None))

    serving.play_until(lambda: settled(api, serving, "rolled-back"), what="the revision that serves")
    assert set(serving.deployments()) == {before}
    assert {pod["metadata"]["uid"] for pod in serving.pods()} == pods


@pytest.mark.usefixtures("upgraded")
def test_scaling_keeps_pods_and_template(api: Api, restored: Garden) -> None:
    serving = ServingNode(api, restored.namespace, "of-job")
    (before,) = serving.deployments().values()
    pods = {pod["metadata"]["uid"] for pod in serving.pods()}

    change(api, "of-job", {"replicas": 3})

    serving.play_until(lambda: len(serving.ready()) == 3, what="three pods")
    (after,) = serving.deployments().values()
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"] == {**before["spec"], "replicas": 3}
    assert {pod["metadata"]["uid"] for pod in serving.pods()} > pods


@pytest.mark.usefixtures("upgraded")
def test_finetunejobs_under_way_end_well_with_the_jobs_that_they_had(
    api: Api, restored: Garden, node: FakeNode
) -> None:
    before = uids(api, restored.namespace)

    node.succeed("preparing-prepare", trainer(restored, "preparing").prepare())
    node.run("preparing-train")
    change(api, "suspended", {"suspend": False})
    node.run("suspended-train")
    for name in ("preparing", "training", "suspended"):
        node.succeed(f"{name}-train", trainer(restored, name).train())
    restored.put("missing.jsonl", '{"prompt": "1 + 1?", "completion": "2"}')

    for name in ("preparing", "training", "suspended"):
        wait_for(has_phase(restored, name, "Complete"), 60, what=f"the end of {name}")
    wait_for(has_phase(restored, "blocked", "Preparing"), 60, what="the prepare Job of blocked")
    after = uids(api, restored.namespace)
    assert {name: after.get(name) for name in before} == before
    assert set(after) - set(before) == {"preparing-train", "blocked-prepare"}


def have_looked_at(api: Api, namespace: str) -> None:
    """Change of each resource what reaches no pod, and wait until each status tells that the change was observed."""
    for resource, spec in UNSEEN_BY_PODS.items():
        for one in api.list(resource, namespace):
            api.merge(resource, one, {"spec": spec})

    def all_observed() -> bool:
        return all(observed(one) for resource in UNSEEN_BY_PODS for one in api.list(resource, namespace))

    wait_for(all_observed, what="every new generation")


def observed(found: Obj) -> bool:
    return bool(found["status"].get("observedGeneration") == found["metadata"]["generation"])


def children(api: Api, namespace: str) -> dict[str, Any]:
    """Return all that the operator made, without what the controllers say of it: that may change."""
    found: dict[str, Any] = {
        f"{one['kind']}/{one['metadata']['name']}": {**one, "metadata": said(one["metadata"]), "status": None}
        for resource in (JOBS, DEPLOYMENTS, SERVICES)
        for one in api.list(resource, namespace)
    }
    return {**found, "Pods": sorted(pod["metadata"]["uid"] for pod in api.list(PODS, namespace))}


def unchanged(api: Api, namespace: str, kept: dict[str, Any]) -> bool:
    """Say what differs where something does."""
    assert children(api, namespace) == kept
    return True


def said(metadata: Obj) -> Obj:
    """Return metadata as the operator wrote it: its own managedFields with their times, no other's."""
    own = [one for one in metadata["managedFields"] if one["manager"] == names.FIELD_MANAGER]
    assert own, f"{metadata['name']} was not written by an operator"
    return {**metadata, "resourceVersion": None, "managedFields": own}


def statuses(api: Api) -> dict[str, Any]:
    """Return what the status of each resource says, as far as it is for good in an upgrade."""
    found = {}
    for name, (resource, _) in scene.OWNERS.items():
        status = owner(api, name)["status"]
        found[name] = {
            "phase": phase(owner(api, name)),
            "conditions": {(one["type"], one["status"], one["reason"]) for one in status["conditions"]},
            "artifact": status.get("artifact"),
            "revisions": status.get("revisions") if resource == MODELDEPLOYMENTS else None,
            "attempts": status.get("attempts"),
        }
    return found


def phases_wanted() -> dict[str, str]:
    return {name: want for name, (_, want) in scene.OWNERS.items()}


def owner(api: Api, name: str) -> Obj:
    found = api.get(scene.OWNERS[name][0], scene.NAMESPACE, name)
    assert found is not None, f"{name} is not there"
    return found


def change(api: Api, name: str, spec: Obj) -> None:
    api.merge(scene.OWNERS[name][0], owner(api, name), {"spec": spec})


def engine(**args: Any) -> Obj:
    return {"engine": {"args": args}}


def settled(api: Api, serving: ServingNode, name: str) -> bool:
    """Tell whether what is declared serves, and nothing else is left."""
    found = owner(api, name)
    return observed(found) and phase(found) == "Ready" and len(serving.deployments()) == 1


def served(serving: ServingNode) -> bool:
    """Tell whether the operator has noted of a revision that it was fully rolled out."""
    noted = [one["metadata"]["annotations"] for one in serving.deployments().values()]
    return any(annotations.get(f"{names.GROUP}/served") == "true" for annotations in noted)


def written(operator: OperatorProcess) -> set[str]:
    """Return the kinds that the operator has written."""
    return {write.split("/")[0] for write in operator.writes()}


def trainer(garden: Garden, name: str) -> Trainer:
    return Trainer.of(garden, garden.finetunejob(name))


def has_phase(garden: Garden, name: str, want: str) -> Callable[[], bool]:
    return lambda: phase(garden.finetunejob(name)) == want


def uids(api: Api, namespace: str) -> dict[str, str]:
    return {job["metadata"]["name"]: job["metadata"]["uid"] for job in api.list(JOBS, namespace)}

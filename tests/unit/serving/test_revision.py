"""A new version of the operator rolls nothing out: what it makes otherwise is in no revision's name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from modelgarden.api.modeldeployment import Engine, ModelDeploymentSpec, Rollout
from modelgarden.controller.plan import Plan
from modelgarden.kube.drift import repair
from modelgarden.kube.resources import DEPLOYMENTS
from modelgarden.serving import manifests, revision
from modelgarden.serving.plan import plan
from modelgarden.serving.revision import revision_hash, revision_name
from modelgarden.serving.template import Wanted, template
from tests.unit.serving.builders import (
    OTHER_DIGEST,
    SETTINGS,
    live,
    made,
    made_earlier,
    observed,
    spec,
    wanted,
)
from tests.unit.serving.test_manifests import FULL

SERVED = {"modelgarden.dev/served": "true"}
EARLIER = "0123456789"
GPU = {"nvidia.com/gpu": "1"}


@pytest.fixture(params=["defaults", "everything set"])
def model(request: pytest.FixtureRequest) -> Wanted:
    return wanted(spec(**FULL) if request.param == "everything set" else None)


@pytest.fixture
def another_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later version of the operator: more in the template, more in the configuration of the pods."""

    def builds_more(of: Wanted) -> dict[str, Any]:
        pods = template(of)
        (serve,) = pods["spec"]["containers"]
        serve["env"].append({"name": "VLLM_NEW_VARIABLE", "value": "1"})
        serve["livenessProbe"]["failureThreshold"] = 9
        serve["resources"]["requests"]["ephemeral-storage"] = "1Gi"
        for variable in serve["env"]:
            if variable["name"] == "MODELGARDEN_CONFIG":
                told = json.loads(variable["value"])
                variable["value"] = json.dumps({**told, "drainSeconds": 120, "newField": True})
        pods["spec"]["volumes"].append({"name": "cache", "emptyDir": {}})
        return pods

    for module in (manifests, revision):
        monkeypatch.setattr(module, "template", builds_more)


def deployments_written(after: Plan, before: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the Deployments of a plan that would be written: another manifest than applied, or a repair."""
    return [
        child
        for child in after.objects
        if child["kind"] == DEPLOYMENTS.kind
        and (_manifest(child) != _manifest(before) or repair(child, before) is not None)
    ]


def _manifest(child: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {name: child["metadata"][name] for name in ("namespace", "name", "labels", "annotations")}
    return {"metadata": metadata, "spec": child["spec"]}


@pytest.mark.usefixtures("another_builder")
def test_another_builder_makes_no_other_revision(model: Wanted) -> None:
    assert revision_hash(model) == revision_hash(wanted(model.spec))


@pytest.mark.parametrize("earlier", [False, True], ids=["of this version", "of version 0.1.0"])
def test_an_upgrade_writes_to_no_deployment(
    model: Wanted, earlier: bool, request: pytest.FixtureRequest
) -> None:
    replicas = model.spec.replicas
    manifest = (
        made_earlier(model, EARLIER, replicas=replicas, annotations=SERVED)
        if earlier
        else made(model, replicas=replicas, annotations=SERVED)
    )
    before = live(manifest, ready=replicas)
    request.getfixturevalue("another_builder")

    after = plan(observed(the_spec=model.spec, deployments=(before,)))

    assert deployments_written(after, before) == []
    assert after.deletes == ()
    assert after.status is not None
    assert [one["state"] for one in after.status["revisions"]] == ["Active"]


@pytest.mark.parametrize(
    "change",
    [
        {"engine": {"args": {"maxModelLen": 128}}},
        {"resources": {"gpus": 2}},
        {"resources": {"memory": "32Gi"}},
        {"resources": {"cpu": "3"}},
        {"podTemplate": {"labels": {"team": "search"}}},
        {"podTemplate": {"annotations": {"example.com/team": "search"}}},
        {"podTemplate": {"nodeSelector": {"gpu": "h100"}}},
        {"storage": {"credentialsSecretRef": {"name": "other"}}},
        {"storage": {"region": "eu-west-1"}},
        {"servedModelName": "other"},
        {"rollout": {"progressDeadlineSeconds": 60}},
    ],
    ids=json.dumps,
)
def test_what_was_declared_otherwise_is_not_taken_for_an_earlier_deployment(change: dict[str, Any]) -> None:
    earlier = live(made_earlier(wanted(), EARLIER), ready=1)

    changed = wanted(spec(**change))

    assert revision_name(wanted(), {EARLIER: earlier}) == EARLIER
    assert revision_name(changed, {EARLIER: earlier}) == revision_hash(changed)


def test_another_artifact_or_image_is_not_taken_for_an_earlier_deployment() -> None:
    earlier = {EARLIER: live(made_earlier(wanted(), EARLIER), ready=1)}
    other_image = replace(wanted(), settings=SETTINGS.model_copy(update={"serve_image": "serve:2"}))

    for changed in (wanted(sha256=OTHER_DIGEST), other_image):
        assert revision_name(changed, earlier) == revision_hash(changed)


def test_quantities_that_the_api_server_writes_otherwise_are_the_same() -> None:
    asked = wanted(spec(resources={"gpus": 0, "cpu": "0.5", "memory": "1024Mi"}))
    earlier = live(made_earlier(asked, EARLIER), ready=1)
    for kind in ("initContainers", "containers"):
        for container in earlier["spec"]["template"]["spec"][kind]:
            container["resources"] = {
                "requests": {"cpu": "500m", "memory": "1Gi"},
                "limits": {"memory": "1Gi"},
            }

    assert revision_name(asked, {EARLIER: earlier}) == EARLIER


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image", "other:1"),
        ("env", []),
        (
            "resources",
            {"requests": {"cpu": "4", **GPU, "memory": "16Gi"}, "limits": {**GPU, "memory": "32Gi"}},
        ),
    ],
    ids=str,
)
def test_an_earlier_deployment_that_somebody_changed_gives_way_to_a_rollout(field: str, value: Any) -> None:
    earlier = live(made_earlier(wanted(), EARLIER), ready=1)
    earlier["spec"]["template"]["spec"]["containers"][0][field] = value

    assert revision_name(wanted(), {EARLIER: earlier}) == revision_hash(wanted())


@pytest.mark.parametrize("written", [4, "4", "4.0", "4000m"], ids=repr)
def test_an_amount_makes_the_same_revision_however_it_is_written(written: int | str) -> None:
    given = wanted(spec(resources={"gpus": 1, "cpu": written, "memory": "16384Mi"}))

    assert revision_hash(given) == revision_hash(wanted())
    assert revision_hash(wanted(spec(resources={"cpu": "4001m"}))) != revision_hash(wanted())


@pytest.mark.parametrize("maker", [made, made_earlier], ids=["of this version", "of version 0.1.0"])
def test_another_deadline_replaces_no_pod_of_a_revision_that_has_served(maker: Any) -> None:
    more = () if maker is made else (EARLIER,)
    served = live(maker(wanted(), *more, annotations=SERVED), ready=1)
    name = served["metadata"]["labels"]["modelgarden.dev/revision"]

    for seconds in (60, 7200):
        patient = wanted(spec(rollout={"progressDeadlineSeconds": seconds}))
        assert revision_name(patient, {name: served}) == name
        other = wanted(spec(rollout={"progressDeadlineSeconds": seconds}, resources={"gpus": 2}))
        assert revision_name(other, {name: served}) == revision_hash(other)


@pytest.mark.parametrize(
    "notes", [{}, {**SERVED, "modelgarden.dev/failed": "it never became ready"}], ids=["not yet", "failed"]
)
def test_another_deadline_is_another_try_of_a_revision_that_never_served(notes: dict[str, str]) -> None:
    loading = live(made(wanted(), annotations=notes))
    patient = wanted(spec(rollout={"progressDeadlineSeconds": 7200}))

    assert revision_name(patient, {revision_hash(wanted()): loading}) == revision_hash(patient)


def test_what_was_declared_of_the_deadline_is_read_from_the_record() -> None:
    served = live(made(wanted(), annotations=SERVED), ready=1)
    served["spec"]["progressDeadlineSeconds"] = 7200  # by somebody else
    name = revision_hash(wanted())

    assert revision_name(wanted(spec(rollout={"progressDeadlineSeconds": 60})), {name: served}) == name


class LaterEngine(Engine):
    """An engine with a field that a later version adds."""

    adapters: tuple[str, ...] = ()


class LaterSpec(ModelDeploymentSpec):
    """The spec of a later version."""

    engine: LaterEngine = LaterEngine()


def test_a_field_that_came_later_makes_another_revision_only_where_it_is_used() -> None:
    source = {"model": {"fineTuneJobRef": {"name": "tune"}}}
    unused = wanted(LaterSpec.from_dict(source))
    used = wanted(LaterSpec.from_dict({**source, "engine": {"adapters": ["support"]}}))
    earlier = live(made_earlier(wanted(), EARLIER), ready=1)

    assert revision_hash(unused) == revision_hash(wanted())
    assert revision_hash(used) != revision_hash(wanted())
    assert revision_name(unused, {EARLIER: earlier}) == EARLIER
    assert revision_name(used, {EARLIER: earlier}) == revision_hash(used), "0.1.0 cannot have made it"


def test_every_field_of_the_spec_is_declared_of_the_pods_or_known_to_be_beside_them() -> None:
    beside = {"model", "served_model_name", "replicas", "carbon"}
    """The artifact and the name that follow from them are declared themselves; the rest reaches no pod."""

    assert set(revision.REACHES_THE_PODS) | beside == set(ModelDeploymentSpec.model_fields)
    assert not set(revision.REACHES_THE_PODS) & beside
    assert set(Rollout.model_fields) == {"strategy", "progress_deadline_seconds"}


def test_the_name_of_a_revision_never_changes() -> None:
    """Were it another one in the next version, an upgrade to that would roll out everything."""
    assert revision_hash(wanted()) == "0fc218c501"
    assert revision_hash(wanted(spec(**FULL))) == "a2fd44bdc2"


def test_an_earlier_deployment_whose_fetch_somebody_changed_gives_way_as_well() -> None:
    earlier = live(made_earlier(wanted(), EARLIER), ready=1)
    earlier["spec"]["template"]["spec"]["initContainers"][0]["image"] = "other:1"

    assert revision_name(wanted(), {EARLIER: earlier}) == revision_hash(wanted())


@pytest.mark.parametrize("kind", ["nothing", "another", "serve alone"])
def test_a_deployment_of_which_somebody_made_something_else_is_no_earlier_one(kind: str) -> None:
    earlier = live(made_earlier(wanted(), EARLIER), ready=1)
    (serve,) = earlier["spec"]["template"]["spec"]["containers"]
    bare = {"name": "serve", "env": [one for one in serve["env"] if one["name"] == "MODELGARDEN_CONFIG"]}
    containers = {"nothing": [], "another": [{"name": "other"}], "serve alone": [bare]}[kind]
    earlier["spec"]["template"] = {"spec": {"containers": containers}}

    assert revision_name(wanted(), {EARLIER: earlier}) == revision_hash(wanted())


@pytest.mark.parametrize("replicas", [None, 1, 2])
def test_an_earlier_deployment_is_not_written_while_nothing_changes(replicas: int | None) -> None:
    earlier = live(
        made_earlier(wanted(), EARLIER, replicas=replicas or 1, annotations=SERVED), ready=replicas or 1
    )
    if replicas is None:  # the API server's default
        del earlier["spec"]["replicas"]

    after = plan(observed(the_spec=spec(replicas=replicas or 1), deployments=(earlier,)))

    assert [child["kind"] for child in after.objects] == ["Service"]


def test_an_earlier_deployment_of_another_revision_gives_way_with_the_template_that_it_has() -> None:
    older = wanted(sha256=OTHER_DIGEST)
    before = live(made_earlier(older, EARLIER, annotations=SERVED), ready=1, age=900)

    waits = plan(observed(deployments=(before, live(made(wanted())))))
    goes = plan(observed(deployments=(before, live(made(wanted()), ready=1))))

    assert f"bot-{EARLIER}" not in {child["metadata"]["name"] for child in waits.objects}
    (given_up,) = [child for child in goes.objects if child["metadata"]["name"] == f"bot-{EARLIER}"]
    assert given_up["spec"] == {**before["spec"], "replicas": 0}
    assert given_up["metadata"]["annotations"]["modelgarden.dev/scaled-at"] == "2026-11-21T12:00:00.000000Z"


def test_the_newest_of_several_earlier_deployments_is_the_wanted_one() -> None:
    older = live(made_earlier(wanted(), "0000000000"), ready=1, age=900)
    newer = live(made_earlier(wanted(), EARLIER), ready=1, age=600)

    assert revision_name(wanted(), {EARLIER: newer, "0000000000": older}) == EARLIER


def test_an_earlier_deployment_is_scaled_with_the_template_that_it_has() -> None:
    before = live(made_earlier(wanted(), EARLIER, annotations=SERVED), ready=1)

    after = plan(observed(the_spec=spec(replicas=3), deployments=(before,)))

    (written,) = deployments_written(after, before)
    assert written["metadata"]["name"] == f"bot-{EARLIER}"
    assert written["spec"] == {**before["spec"], "replicas": 3}
    assert written["metadata"]["annotations"]["modelgarden.dev/served"] == "true"

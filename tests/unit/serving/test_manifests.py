"""The children's manifests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from modelgarden.api.modeldeployment import Engine, ServedArtifact
from modelgarden.api.pods import ServeConfig
from modelgarden.serving.manifests import MADE_WITH_ANNOTATION, as_made, rescaled, service
from modelgarden.serving.revision import revision_hash, revision_name
from modelgarden.serving.template import GRACE_SECONDS, engine_args, serve_config
from tests.unit.serving.builders import DIGEST, OTHER_DIGEST, SETTINGS, live, made, spec, wanted

FULL: dict[str, Any] = {
    "servedModelName": "support",
    "engine": {
        "args": {"maxModelLen": 4096, "gpuMemoryUtilization": 0.8, "maxNumSeqs": 32, "dtype": "bfloat16",
                 "enforceEager": True},
        "extraArgs": ["--enable-prefix-caching", "--kv-cache-dtype=fp8"],
    },
    "replicas": 2,
    "resources": {"gpus": 2, "cpu": 6, "memory": "64Gi"},
    "podTemplate": {
        "labels": {"kueue.x-k8s.io/queue-name": "serving"},
        "annotations": {"team": "search"},
        "nodeSelector": {"gpu": "h200"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "priorityClassName": "high",
        "runtimeClassName": "nvidia",
        "serviceAccountName": "models-reader",
        "imagePullSecrets": [{"name": "registry"}],
    },
    "rollout": {"progressDeadlineSeconds": 600},
    "storage": {
        "endpoint": "http://s3.example.com:9000", "region": "eu-central-1", "credentialsSecretRef": {"name": "s3"},
    },
    "carbon": {"zone": "DEU", "pue": 1.25},
}  # fmt: skip


def test_deployment_with_everything_set(snapshot: SnapshotAssertion) -> None:
    assert made(wanted(spec(**FULL)), replicas=2, annotations={}) == snapshot


def test_deployment_with_the_defaults(snapshot: SnapshotAssertion) -> None:
    assert made(wanted(), replicas=1, annotations={"modelgarden.dev/served": "true"}) == snapshot


def test_service(snapshot: SnapshotAssertion) -> None:
    assert service("default", "bot") == snapshot


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"servedModelName": "other"}, id="the served name"),
        pytest.param({"engine": {"args": {"maxModelLen": 128}}}, id="an engine argument"),
        pytest.param({"resources": {"gpus": 2}}, id="the resources"),
        pytest.param({"podTemplate": {"annotations": {"restarted": "now"}}}, id="the pod template"),
        pytest.param({"storage": {"region": "eu-west-1"}}, id="the storage"),
    ],
)
def test_what_reaches_the_pods_makes_a_revision(change: dict[str, Any]) -> None:
    assert revision_hash(wanted(spec(**change))) != revision_hash(wanted())


def test_another_artifact_or_image_makes_a_revision() -> None:
    names = {revision_hash(wanted()), revision_hash(wanted(sha256=OTHER_DIGEST))}
    other_image = SETTINGS.model_copy(update={"serve_image": "example.com/serve:2"})
    one = wanted()
    names.add(revision_hash(type(one)(one.namespace, one.name, one.spec, one.artifact, other_image)))
    assert len(names) == 3


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"replicas": 7}, id="the replicas"),
        pytest.param({"carbon": {"zone": "FRA"}}, id="the zone"),
        pytest.param({"carbon": {"pue": 1.4}}, id="the PUE"),
    ],
)
def test_what_is_worth_no_new_pod_makes_no_revision(change: dict[str, Any]) -> None:
    assert revision_hash(wanted(spec(**change))) == revision_hash(wanted())


GIVEN = {"default_zone": "DEU", "default_pue": 1.3, "image_pull_policy": "Always"}


def test_the_operators_defaults_make_no_revision_and_reach_new_pods() -> None:
    one = replace(wanted(), settings=SETTINGS.model_copy(update=GIVEN))

    template = made(one, replicas=1, annotations={})["spec"]["template"]

    assert revision_hash(one) == revision_hash(wanted())
    assert given(template) == ("DEU", 1300, {"Always"})


def test_a_live_revision_stays_as_it_was_made() -> None:
    before = live(made(wanted(spec(**FULL)), replicas=1), ready=1)

    after = as_made(before, replicas=2, annotations={"modelgarden.dev/served": "true"})

    assert after is not None
    assert after["spec"] == {**before["spec"], "replicas": 2}
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert after["metadata"]["annotations"] == before["metadata"]["annotations"] | {
        "modelgarden.dev/served": "true"
    }
    assert after["metadata"]["uid"] == before["metadata"]["uid"], (
        "another Deployment of the name is not meant"
    )


def test_a_live_template_that_someone_else_changed_is_put_right() -> None:
    before = live(made(wanted(), replicas=1), ready=1)
    container = before["spec"]["template"]["spec"]["containers"][0]
    container |= {"image": "example.com/other:1", "env": [{"name": "MODELGARDEN_CONFIG", "value": "{}"}]}

    after = as_made(before, replicas=1, annotations={})

    assert after is not None
    assert after["spec"] == made(wanted(), replicas=1)["spec"]


@pytest.mark.parametrize(
    "record", [None, "", "{", "[]", '{"labels": {}}', '{"labels": {}, "spec": {}}'], ids=str
)
def test_a_record_that_somebody_spoilt_is_none(record: str | None) -> None:
    before = live(made(wanted(), replicas=1), ready=1)
    del before["metadata"]["annotations"][MADE_WITH_ANNOTATION]
    if record is not None:
        before["metadata"]["annotations"][MADE_WITH_ANNOTATION] = record

    assert as_made(before, replicas=1, annotations={}) is None


def test_a_record_keeps_letters_as_they_are() -> None:
    annotations = made(wanted(spec(podTemplate={"annotations": {"team": "Süche 模"}})))["metadata"][
        "annotations"
    ]

    assert "Süche 模" in annotations[MADE_WITH_ANNOTATION]


def test_a_record_that_the_api_server_would_refuse_is_left_out() -> None:
    quotes = {f"note-{number}": '"' * 4096 for number in range(31)}
    one = wanted(spec(podTemplate={"annotations": quotes}))

    annotations = made(one)["metadata"]["annotations"]

    assert MADE_WITH_ANNOTATION not in annotations
    before = live(made(one, annotations={"modelgarden.dev/served": "true"}), ready=1)
    assert revision_name(one, {revision_hash(one): before}) == revision_hash(one)


def given(template: dict[str, Any]) -> tuple[str | None, int, set[str]]:
    """Return zone, PUE in thousandths and pull policies of a pod template."""
    containers = [*template["spec"]["initContainers"], *template["spec"]["containers"]]
    told = {
        ServeConfig.model_validate_json(variable["value"]).carbon
        for container in containers
        for variable in container["env"]
        if variable["name"] == "MODELGARDEN_CONFIG"
    }
    (carbon,) = told
    return carbon.zone, carbon.pue_milli, {container["imagePullPolicy"] for container in containers}


def test_the_credentials_reach_only_the_init_container() -> None:
    pod = made(wanted(spec(**FULL)), replicas=1, annotations={})["spec"]["template"]["spec"]

    variables = {
        kind: {variable["name"] for variable in pod[kind][0]["env"]}
        for kind in ("initContainers", "containers")
    }

    assert "AWS_SECRET_ACCESS_KEY" in variables["initContainers"]
    assert not any(name.startswith("AWS_") for name in variables["containers"])


def test_a_model_in_gcs_is_fetched_with_its_key_by_an_image_that_knows_gcs() -> None:
    gcs = {**FULL, "storage": {"gcs": {"credentialsSecretRef": {"name": "account"}}}}
    artifact = ServedArtifact(uri="gs://models/bot", sha256="a" * 64)

    configs = [
        serve_config(replace(wanted(spec(**gcs)), artifact=one)) for one in (artifact, wanted().artifact)
    ]
    pod = made(wanted(spec(**gcs)), replicas=1, annotations={})["spec"]["template"]["spec"]

    assert [config.schema_version for config in configs] == ["2.0", "1.0"]
    held = [[one["name"] for one in pod[kind][0]["env"]] for kind in ("initContainers", "containers")]
    assert ["GOOGLE_CREDENTIALS" in names for names in held] == [True, False]


def test_the_startup_budget_is_the_progress_deadline() -> None:
    template = made(wanted(spec(**FULL)), replicas=1, annotations={})["spec"]["template"]["spec"]

    probe = template["containers"][0]["startupProbe"]

    assert probe["periodSeconds"] * probe["failureThreshold"] == 600


def test_one_slow_answer_does_not_take_a_pod_out_of_the_service() -> None:
    template = made(wanted(), replicas=1, annotations={})["spec"]["template"]["spec"]

    assert template["containers"][0]["readinessProbe"]["failureThreshold"] == 3


def test_the_grace_period_outlasts_the_drain() -> None:
    assert serve_config(wanted()).drain_seconds + 15 < GRACE_SECONDS


@pytest.mark.parametrize(
    ("uri", "manifest", "listing"),
    [
        pytest.param("s3://models/run/manifest.json", DIGEST, None, id="a run is held against its manifest"),
        pytest.param("s3://models/folder", None, DIGEST, id="a folder is held against its listing"),
    ],
)
def test_the_pod_is_told_what_to_verify(uri: str, manifest: str | None, listing: str | None) -> None:
    one = wanted()
    served = ServedArtifact(uri=uri, sha256=DIGEST)

    config = serve_config(type(one)(one.namespace, one.name, one.spec, served, one.settings))

    assert (config.manifest_sha256, config.listing_sha256) == (manifest, listing)


def test_the_configuration_survives_its_way_through_the_environment() -> None:
    one = wanted(spec(**FULL))
    pod = made(one, replicas=1, annotations={})["spec"]["template"]["spec"]
    variables = {variable["name"]: variable.get("value") for variable in pod["containers"][0]["env"]}

    assert ServeConfig.model_validate_json(variables["MODELGARDEN_CONFIG"]) == serve_config(one)


@pytest.mark.parametrize(
    ("extra", "want"),
    [
        pytest.param([], ("--tensor-parallel-size=4",), id="several GPUs share one model"),
        pytest.param(
            ["--data-parallel-size=4"],
            ("--data-parallel-size=4",),
            id="unless the user splits them otherwise",
        ),
    ],
)
def test_parallelism(extra: list[str], want: tuple[str, ...]) -> None:
    assert engine_args(Engine.from_dict({"extraArgs": extra}), gpus=4) == want


def test_rescaling_keeps_the_template_and_our_notes() -> None:
    before = live(made(wanted(), replicas=2, annotations={"modelgarden.dev/served": "true"}), ready=2)
    before["metadata"]["annotations"] |= {
        "deployment.kubernetes.io/revision": "1", "modelgarden.dev/desired-hash": "x",
    }  # fmt: skip

    after = rescaled(before, replicas=1, annotations={"modelgarden.dev/scaled-at": "now"})

    assert after["spec"] == {**before["spec"], "replicas": 1}
    assert after["metadata"]["annotations"] == {
        "modelgarden.dev/made-with": before["metadata"]["annotations"][MADE_WITH_ANNOTATION],
        "modelgarden.dev/model": f"bot@{DIGEST}",
        "modelgarden.dev/served": "true",
        "modelgarden.dev/scaled-at": "now",
    }

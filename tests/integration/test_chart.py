"""The chart as Helm renders it: what the API server says to it, what it may do, and what it refuses."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.cluster import ControlPlane, binaries
from modelgarden.api.names import GROUP
from modelgarden.kube.resources import DEPLOYMENTS, EVENTS, SERVICES
from tests.integration.conftest import at_work
from tests.integration.harness.garden import Garden
from tests.integration.harness.node import FakeNode
from tests.integration.harness.process import OperatorProcess
from tests.integration.harness.waiting import wait_for
from tests.integration.trainer import Trainer
from tests.unit.api.test_needs import make_needs

CHART = Path(__file__).resolve().parents[2] / "charts" / "modelgarden"
ACCOUNT = "modelgarden"

Manifest = dict[str, Any]

MATRIX: dict[str, Mapping[str, Any]] = {
    "default": {},
    "named": {"fullnameOverride": "garden", "nameOverride": "mg"},
    "highly available": {
        "replicaCount": 2,
        "podDisruptionBudget": {"enabled": True},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
        ],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}]
                }
            }
        },
    },
    "placed": {
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "priorityClassName": "system-cluster-critical",
        "imagePullSecrets": [{"name": "registry"}],
        "podLabels": {"team": "a"},
        "podAnnotations": {"note": "b"},
        "resources": {},
    },
    "pinned images": {
        "images": {
            part: {"repository": f"registry.example:5000/{part}", "digest": f"sha256:{'0' * 64}"}
            for part in ("operator", "train", "serve")
        }
    },
    "configured": {
        "carbon": {"defaultZone": "DEU", "defaultPue": 1.2},
        "cost": {"gpuHour": {"NVIDIA-L4": 0.8, "Tesla-T4": "0.35"}, "currency": "EUR"},
        "logLevel": "DEBUG",
        "logFormat": "text",
        "extraEnv": [{"name": "MODELGARDEN_WORKERS", "value": "4"}, {"name": "AWS_REGION", "value": "eu"}],
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/garden"}},
    },
    "without its own account, roles and CRDs": {
        "crds": {"enabled": False},
        "rbac": {"create": False},
        "serviceAccount": {"create": False, "name": "mine"},
    },
    "removable CRDs": {"crds": {"keep": False}},
}


@pytest.fixture(scope="module")
def helm() -> Path:
    """The Helm binary."""
    binaries.ensure("helm")
    return binaries.path("helm")


def _helm(helm: Path, *words: str, values: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    argv = [str(helm), *words, "--values", "-"]
    return subprocess.run(
        argv, input=yaml.safe_dump(dict(values)), capture_output=True, text=True, check=False
    )


def _rendered(helm: Path, namespace: str, values: Mapping[str, Any]) -> list[Manifest]:
    done = _helm(helm, "template", "modelgarden", str(CHART), "--namespace", namespace, values=values)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def _of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def _pod(manifests: list[Manifest], namespace: str) -> Manifest:
    """Return the Deployment's pod, with a service account that exists already."""
    template = _of_kind(manifests, "Deployment")[0]["spec"]["template"]
    spec = {**template["spec"], "serviceAccountName": "default"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": "operator", "namespace": namespace},
        "spec": spec,
    }


def _dumped(manifests: list[Manifest]) -> str:
    return yaml.safe_dump_all(manifests)


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX.keys())
def test_the_api_server_takes_what_the_chart_renders(
    cluster: ControlPlane, namespace: str, helm: Path, values: Mapping[str, Any]
) -> None:
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    manifests = _rendered(helm, namespace, values)
    manifests.append(_pod(manifests, namespace))  # a Deployment alone is not held against Pod Security

    command = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts")
    applied = cluster.kubectl(*command, "-f", "-", stdin=_dumped(manifests)).splitlines()

    assert len(applied) == len(manifests)


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX.keys())
def test_lint_finds_nothing(helm: Path, values: Mapping[str, Any]) -> None:
    done = _helm(helm, "lint", "--strict", str(CHART), values=values)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ({"image": {}}, "image"),
        ({"images": {"train": {"repository": ""}}}, "repository"),
        ({"images": {"serve": {"repository": "a", "digest": "sha256:1"}}}, "digest"),
        ({"replicaCount": "2"}, "replicaCount"),
        ({"carbon": {"defaultPue": 0.5}}, "defaultPue"),
        ({"carbon": {"defaultPue": "0.5"}}, "defaultPue"),
        ({"carbon": {"defaultPue": "5.1"}}, "defaultPue"),
        ({"carbon": {"defaultZone": "Germany"}}, "defaultZone"),
        ({"logLevel": "debug"}, "logLevel"),
        ({"watchNamespaces": ["Team"]}, "watchNamespaces"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name is needed"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_by_its_name(helm: Path, values: Mapping[str, Any], want: str) -> None:
    done = _helm(helm, "template", "modelgarden", str(CHART), values=values)

    assert done.returncode != 0
    assert want in done.stderr


def test_crds_stay_on_uninstall_unless_said_otherwise(helm: Path) -> None:
    kept = _of_kind(_rendered(helm, "a", {}), "CustomResourceDefinition")
    removable = _of_kind(_rendered(helm, "a", {"crds": {"keep": False}}), "CustomResourceDefinition")

    assert [crd["metadata"]["annotations"]["helm.sh/resource-policy"] for crd in kept] == ["keep", "keep"]
    assert ["annotations" in crd["metadata"] for crd in removable] == [False, False]
    assert _of_kind(_rendered(helm, "a", {"crds": {"enabled": False}}), "CustomResourceDefinition") == []


def test_crds_of_the_chart_are_those_of_the_repository(helm: Path) -> None:
    rendered = _of_kind(_rendered(helm, "a", {}), "CustomResourceDefinition")
    files = sorted((CHART.parents[1] / "crds").glob("*.yaml"))

    committed = {crd["metadata"]["name"]: crd["spec"] for crd in map(_loaded, files)}
    assert {crd["metadata"]["name"]: crd["spec"] for crd in rendered} == committed


def _loaded(file: Path) -> Manifest:
    loaded: Manifest = yaml.safe_load(file.read_text())
    return loaded


@pytest.mark.parametrize("watched", [[], ["team-a", "team-b"]], ids=["all namespaces", "two namespaces"])
def test_roles_have_no_wildcards_and_never_list_secrets(helm: Path, watched: list[str]) -> None:
    manifests = _rendered(helm, "a", {"watchNamespaces": watched})
    roles = _of_kind(manifests, "ClusterRole") + _of_kind(manifests, "Role")
    rules = [rule for role in roles for rule in role["rules"]]

    assert rules
    for rule in rules:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert not rule.get("nonResourceURLs")
        if "secrets" in rule["resources"]:
            assert (rule["resources"], rule["verbs"]) == (["secrets"], ["get"])
    assert not {"escalate", "bind", "impersonate"} & {verb for rule in rules for verb in rule["verbs"]}
    assert len(_of_kind(manifests, "ClusterRole")) == (0 if watched else 1)
    nodes = [rule["verbs"] for rule in rules if "nodes" in rule["resources"]]
    assert nodes == ([] if watched else [["list"]])
    served = {role["metadata"]["namespace"] for role in _of_kind(manifests, "Role")}
    assert served == {"a", *watched}


ALLOWED = [
    *((verb, f"finetunejobs.{GROUP}", "") for verb in ("get", "list", "watch", "delete")),
    *((verb, f"modeldeployments.{GROUP}", "") for verb in ("get", "list", "watch")),
    ("patch", f"finetunejobs.{GROUP}", "status"),
    ("patch", f"modeldeployments.{GROUP}", "status"),
    *((verb, "jobs.batch", "") for verb in ("get", "list", "watch", "create", "patch", "delete")),
    *((verb, "deployments.apps", "") for verb in ("get", "list", "watch", "create", "patch", "delete")),
    *((verb, "services", "") for verb in ("get", "list", "watch", "create", "patch")),
    *((verb, "pods", "") for verb in ("get", "list", "watch")),
    ("get", "secrets", ""),
    *((verb, "events.events.k8s.io", "") for verb in ("create", "list")),
]
"""What the operator does in a namespace that it serves."""

DENIED = [
    ("list", "secrets", ""),
    ("watch", "secrets", ""),
    ("create", "secrets", ""),
    ("create", "pods", ""),
    ("delete", "pods", ""),
    ("create", "pods", "exec"),
    ("patch", f"finetunejobs.{GROUP}", ""),
    ("delete", f"modeldeployments.{GROUP}", ""),
    ("create", "roles.rbac.authorization.k8s.io", ""),
    ("get", "configmaps", ""),
    ("patch", "customresourcedefinitions.apiextensions.k8s.io", ""),
]


@pytest.fixture
def operator_with_roles_only(
    cluster: ControlPlane, namespace: str, helm: Path, tmp_path: Path
) -> Iterator[OperatorProcess]:
    """The operator as the chart's account where it serves one namespace: it has no ClusterRole."""
    manifests = _rendered(helm, namespace, {"watchNamespaces": [namespace]})
    roles = [item for kind in ("ServiceAccount", "Role", "RoleBinding") for item in _of_kind(manifests, kind)]
    cluster.kubectl("apply", "-f", "-", stdin=_dumped(roles))
    kubeconfig = json.loads(cluster.kubeconfig.read_text())
    kubeconfig["users"][0]["user"]["token"] = cluster.kubectl("create", "token", ACCOUNT, "-n", namespace)
    own = tmp_path / "kubeconfig"
    own.write_text(json.dumps(kubeconfig))
    settings = {
        "watch_namespaces": namespace,
        "lease_namespace": namespace,
        "lease_name": "modelgarden-operator",
    }
    yield from at_work(OperatorProcess(own, tmp_path / "operator.log", settings))


@pytest.mark.usefixtures("operator_with_roles_only")
def test_the_roles_of_one_namespace_are_enough_to_work_there(garden: Garden, node: FakeNode) -> None:
    garden.create_finetunejob("bot")
    garden.create_modeldeployment("bot")

    node.wait_for_pod("bot-prepare")
    wait_for(lambda: garden.api.get(SERVICES, garden.namespace, "bot"), what="the Service")
    wait_for(lambda: garden.api.list(DEPLOYMENTS, garden.namespace), what="the Deployment")
    wait_for(
        lambda: [
            one
            for one in garden.api.list(EVENTS, garden.namespace)
            if one["reportingController"].startswith(GROUP)
        ],
        what="an event",
    )


@pytest.mark.usefixtures("operator_with_roles_only")
def test_without_the_right_to_list_nodes_a_training_is_estimated_and_starts(
    garden: Garden, node: FakeNode
) -> None:
    resources = {"gpus": 1, "cpu": "1", "memory": "1Gi"}
    job = garden.create_finetunejob("bot", resources=resources)
    needs = make_needs(weights_bytes=10**15)
    node.run("bot-prepare")
    node.succeed("bot-prepare", Trainer.of(garden, job).prepare().model_copy(update={"needs": needs}))

    node.wait_for_pod("bot-train")

    estimate = garden.recorded("bot", "estimate")
    assert estimate["gpuMemoryBytes"] > 10**15
    assert "gpu" not in estimate


def _allowed(cluster: ControlPlane, account: str, asked: list[tuple[str, str, str, str]]) -> list[bool]:
    """Ask the API server what an account may do: (namespace, verb, resource.group or resource.group/name, subresource)."""
    reviews = []
    for namespace, verb, target, subresource in asked:
        kind, _, name = target.partition("/")
        resource, _, group = kind.partition(".")
        attributes = {"namespace": namespace, "verb": verb, "resource": resource, "group": group}
        reviews.append(
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {
                    "user": f"system:serviceaccount:{account}",
                    "resourceAttributes": {**attributes, "subresource": subresource, "name": name},
                },
            }
        )
    answers = cluster.kubectl(
        "create", "-f", "-", "-o", 'jsonpath={.status.allowed}{"\\n"}', stdin=_dumped(reviews)
    )
    return [answer == "true" for answer in answers.split()]


def test_the_operator_may_do_what_it_does_and_no_more(
    cluster: ControlPlane, namespace: str, helm: Path
) -> None:
    manifests = _rendered(helm, namespace, {"watchNamespaces": [namespace]})
    roles = [item for kind in ("ServiceAccount", "Role", "RoleBinding") for item in _of_kind(manifests, kind)]
    cluster.kubectl("apply", "-f", "-", stdin=_dumped(roles))
    lease = "leases.coordination.k8s.io"
    want = {
        **{(namespace, *asked): True for asked in ALLOWED},
        **{(namespace, *asked): False for asked in DENIED},
        (namespace, "update", f"{lease}/modelgarden-operator", ""): True,
        (namespace, "update", f"{lease}/another", ""): False,
        ("default", "list", "jobs.batch", ""): False,
    }

    answers = _allowed(cluster, f"{namespace}:{ACCOUNT}", list(want))

    assert dict(zip(want, answers, strict=True)) == want

"""In a cluster of the user's own the demo changes and removes what it made, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from hack.demo import install, ownership
from hack.demo.environment import Environment, Images, S3Access
from hack.demo.errors import DemoError

OURS = {ownership.MARK: ownership.MAKER}


def namespace(name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {"kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}


def operator(
    place: str = "modelgarden-system",
    *,
    mark: dict[str, str] | None = None,
    watched: str = "",
    chart: str = "modelgarden",
) -> dict[str, Any]:
    """Return an operator's Deployment as the chart makes it; of another chart where one is named."""
    variables = [{"name": "MODELGARDEN_WATCH_NAMESPACES", "value": watched}]
    return {
        "metadata": {"name": "operator", "namespace": place, "labels": {"helm.sh/chart": f"{chart}-0.1.0"}},
        "spec": {
            "template": {
                "metadata": {"annotations": mark or {}},
                "spec": {"containers": [{"name": "operator", "env": variables}]},
            }
        },
    }


@dataclass(frozen=True)
class Found(Environment):
    """A cluster with these objects, which only notes what it is told to change."""

    objects: tuple[dict[str, Any], ...] = ()
    changes: list[str] = field(default_factory=list)

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        if args[:2] == ("get", "namespace"):
            return next((json.dumps(one) for one in self.objects if one["metadata"]["name"] == args[2]), "")
        if args[:2] == ("get", "deployments.apps"):
            return json.dumps({"items": [one for one in self.objects if "template" in one.get("spec", {})]})
        made = [one["metadata"]["name"] for one in json.loads(stdin)["items"]] if stdin else list(args[1:])
        self.changes.append(f"{args[0]} {' '.join(made)}")
        return ""

    def helm(self, *args: str) -> str:
        if args[0] == "list":
            return "[]"
        self.changes.append(f"helm {args[0]}")
        return ""


def cluster(*objects: dict[str, Any], local: bool = False) -> Found:
    return Found(
        local=local,
        kubectl_program="kubectl",
        helm_program="helm",
        kubeconfig=None,
        s3=S3Access("http://s3.example", "http://s3.pods.example", "key", "secret", "my-bucket"),
        images=Images("r/modelgarden-operator:1", "r/modelgarden-train:1", "r/modelgarden-serve:1"),
        objects=objects,
    )


INSTALLED = ["apply modelgarden-system", "helm upgrade"]


@pytest.mark.parametrize(
    ("objects", "changes"),
    [
        pytest.param([], INSTALLED, id="an empty cluster"),
        pytest.param(
            [namespace("quickstart", OURS), namespace("modelgarden-system", OURS), operator(mark=OURS)],
            INSTALLED,
            id="what an earlier demo left",
        ),
        pytest.param(
            [namespace("modelgarden-system"), operator()], [], id="an installation as README describes it"
        ),
        pytest.param(
            [namespace("modelgarden-system", OURS), operator()],
            [],
            id="the demo's, upgraded with other values",
        ),
        pytest.param(
            [operator("platform", watched="a,quickstart")], [], id="one that serves the namespace too"
        ),
        pytest.param([operator("other", chart="other")], INSTALLED, id="the operator of something else"),
    ],
)
def test_an_installation_of_somebody_else_is_used_and_not_touched(
    objects: list[dict[str, Any]], changes: list[str]
) -> None:
    environment, said = cluster(*objects), list[str]()
    install.install_chart(environment, said.append)
    assert environment.changes == changes
    assert any("as it is" in line for line in said) is (changes == [])


@pytest.mark.parametrize(
    ("objects", "advice"),
    [
        pytest.param(
            [namespace("quickstart")], "kubectl label namespace quickstart", id="the example's namespace"
        ),
        pytest.param(
            [namespace("modelgarden-system")],
            "kubectl label namespace modelgarden-system",
            id="the operator's",
        ),
        pytest.param([operator(watched="a,b")], "watchNamespaces", id="an operator that does not serve it"),
    ],
)
def test_the_demo_stops_before_it_takes_what_is_not_its_own(
    objects: list[dict[str, Any]], advice: str
) -> None:
    environment = cluster(*objects)
    with pytest.raises(DemoError, match=advice):
        install.install_chart(environment, print)
    assert environment.changes == []


def test_a_local_cluster_is_the_demos_whatever_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hack.demo.environment.operator_digest", lambda: "sha256:1")
    environment = cluster(namespace("quickstart"), namespace("modelgarden-system"), operator(), local=True)
    install.install_chart(environment, print)
    assert environment.changes == INSTALLED


@pytest.mark.parametrize(
    ("objects", "changes", "stays"),
    [
        pytest.param([], [], ["kubectl delete crd", "s3://my-bucket"], id="nothing"),
        pytest.param(
            [namespace("quickstart", OURS), namespace("modelgarden-system", OURS), operator(mark=OURS)],
            ["delete namespace quickstart", "helm uninstall", "delete namespace modelgarden-system"],
            ["kubectl delete crd", "s3://my-bucket"],
            id="a demo",
        ),
        pytest.param(
            [namespace("quickstart", OURS), namespace("modelgarden-system"), operator()],
            ["delete namespace quickstart"],
            ["Model Garden in modelgarden-system", "s3://my-bucket"],
            id="a demo with an installation that was there",
        ),
        pytest.param(
            [namespace("quickstart", OURS), namespace("modelgarden-system", OURS), operator()],
            ["delete namespace quickstart"],
            ["Model Garden in modelgarden-system", "s3://my-bucket"],
            id="a demo whose installation was upgraded with other values",
        ),
        pytest.param(
            [namespace("quickstart"), namespace("modelgarden-system")],
            [],
            ["namespace quickstart", "namespace modelgarden-system", "kubectl delete crd", "s3://my-bucket"],
            id="namespaces of somebody else",
        ),
    ],
)
def test_cleaning_removes_what_the_demo_made_and_says_what_stays(
    objects: list[dict[str, Any]], changes: list[str], stays: list[str]
) -> None:
    environment, said = cluster(*objects), list[str]()
    install.uninstall(environment, said.append)
    assert environment.changes == changes
    assert len(said) == len(stays)
    for line, words in zip(said, stays, strict=True):
        assert words in line


def test_what_the_demo_makes_bears_its_mark() -> None:
    assert all(ownership.is_marked(install._namespace(name)) for name in ("quickstart", "modelgarden-system"))
    marked = dict(pair.split("=", 1) for pair in install._values(cluster())[1::2])
    assert marked[r"podAnnotations.modelgarden\.dev/made-by"] == ownership.MAKER


def test_the_example_is_applied_with_bucket_and_endpoint_of_the_environment() -> None:
    job, deployment = yaml.safe_load_all(install.example(cluster()))
    assert job["spec"]["dataset"]["source"] == "s3://my-bucket/text-to-sql.jsonl"
    assert job["spec"]["output"]["uri"] == "s3://my-bucket/garden"
    for one in (job, deployment):
        assert one["spec"]["storage"]["endpoint"] == "http://s3.pods.example"
    assert "s3://quickstart" not in install.example(cluster())
    assert install.example(cluster(local=True)) == (install.EXAMPLE / "quickstart.yaml").read_text()

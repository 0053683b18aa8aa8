"""What a person reads from the API server: defaults, explanations, columns, short names, the scale subresource."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from hack.cluster import ControlPlane
from hack.crd import custom_resource_definition
from modelgarden.api.finetunejob import FineTuneJobStatus
from modelgarden.api.kinds import FINETUNEJOB, KINDS, MODELDEPLOYMENT, Kind
from modelgarden.api.names import API_VERSION
from tests.integration.crd_api import RawApi
from tests.integration.harness.waiting import wait_for
from tests.rule_cases import SPECS, spec_of

pytestmark = pytest.mark.integration


def _manifest(kind: Kind, name: str) -> str:
    return json.dumps(
        {"apiVersion": API_VERSION, "kind": kind.name, "metadata": {"name": name}, "spec": SPECS[kind.name]}
    )


def _descriptions(schema: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Yield path and description of every field below a schema."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field["description"]
        yield from _descriptions(field.get("items", field), f"{path}.{name}")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_defaults_are_stored_as_the_model_has_them(
    cluster: ControlPlane, namespace: str, kind: Kind
) -> None:
    async with RawApi(cluster.kubeconfig, namespace) as raw:
        answer = await raw.create(kind, json.dumps(spec_of(kind, {})))

    assert answer.body["spec"] == kind.spec.from_dict(spec_of(kind, {})).to_dict()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_field_explains_itself(cluster: ControlPlane, kind: Kind) -> None:
    crd = custom_resource_definition(kind)
    want = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]

    def found() -> dict[str, Any]:
        # Published a moment after the CRD is established.
        text = cluster.kubectl("get", "--raw", f"/openapi/v3/apis/{API_VERSION}", check=False)
        assert text.startswith("{"), text
        schemas = json.loads(text).get("components", {}).get("schemas", {})
        return next((one for name, one in schemas.items() if name.endswith(f".{kind.name}")), {})

    published = wait_for(found, what=f"the schema of {kind.name}")
    for part in ("spec", "status"):
        described = dict(_descriptions(published["properties"][part], part))
        assert described == dict(_descriptions(want[part], part))


def test_kubectl_explain_shows_unit_and_default(cluster: ControlPlane) -> None:
    words = ("explain", "finetunejobs.spec.training.maxSequenceLength")
    text = wait_for(lambda: cluster.kubectl(*words, check=False), what="the schema of FineTuneJob")

    assert "Longest row in tokens" in text
    assert "Default: 2048" in text


def test_short_names_and_the_category_list_the_resources(cluster: ControlPlane, namespace: str) -> None:
    for kind in KINDS:
        cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=_manifest(kind, kind.short_name))

    for kind in KINDS:
        assert kind.short_name in cluster.kubectl("get", kind.short_name, "-n", namespace, "-o", "name")
    assert len(cluster.kubectl("get", "modelgarden", "-n", namespace, "-o", "name").split()) == len(KINDS)


@pytest.mark.parametrize(
    ("kind", "want"),
    [
        (FINETUNEJOB, ["NAME", "PHASE", "PROGRESS", "MODEL", "METHOD", "VERSION", "AGE"]),
        (MODELDEPLOYMENT, ["NAME", "READY", "REPLICAS", "MODEL", "URL", "PHASE", "AGE"]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_columns_tell_the_state(cluster: ControlPlane, namespace: str, kind: Kind, want: list[str]) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=_manifest(kind, "a"))

    narrow = cluster.kubectl("get", kind.plural, "-n", namespace).splitlines()[0]
    wide = cluster.kubectl("get", kind.plural, "-n", namespace, "-o", "wide").splitlines()[0]

    assert re.split(r"\s{2,}", narrow) == want
    assert {"ENERGY(J)", "CO2(MG)"} <= set(re.split(r"\s{2,}", wide))


def test_a_deployment_scales_by_kubectl(cluster: ControlPlane, namespace: str) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=_manifest(MODELDEPLOYMENT, "a"))

    cluster.kubectl("scale", "modeldeployments/a", "--replicas=0", "-n", namespace)

    replicas = cluster.kubectl("get", "mdep", "a", "-n", namespace, "-o", "jsonpath={.spec.replicas}")
    assert replicas == "0"


def test_client_side_apply_fits_its_annotation(cluster: ControlPlane, namespace: str) -> None:
    for kind in KINDS:
        cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=_manifest(kind, "twice"))

        again = cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=_manifest(kind, "twice"))

        assert again.endswith("unchanged")


def test_the_scores_of_a_job_that_ended_before_metrics_were_a_list_are_kept(
    cluster: ControlPlane, namespace: str
) -> None:
    scores = {"perplexity": "4.2", "exactMatch": "0.6000"}
    former = {"evaluation": {"rows": 5, "base": scores, "tuned": scores}}
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=_manifest(FINETUNEJOB, "old"))
    patch = ("--subresource=status", "--type=merge", "-p", json.dumps({"status": former}))

    cluster.kubectl("patch", "ftj", "old", "-n", namespace, *patch)

    stored = json.loads(cluster.kubectl("get", "ftj", "old", "-n", namespace, "-o", "json"))["status"]
    read = FineTuneJobStatus.readable(stored).evaluation
    assert read is not None
    assert [(one.name, one.tuned.value) for one in read.metrics] == [
        ("perplexity", "4.2"),
        ("exactMatch", "0.6000"),
    ]

"""Every rule of the CRDs on a real API server: what it refuses names the field and says what to do."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from hack.cluster import ControlPlane
from modelgarden.api.finetunejob import IMMUTABLE_FIELDS
from modelgarden.api.kinds import FINETUNEJOB, KINDS, MODELDEPLOYMENT, Kind
from modelgarden.api.names import MAX_NAME_LENGTH
from tests.integration.crd_api import Answer, RawApi
from tests.rule_cases import RULE_CASES, RuleCase, merged, spec_of

pytestmark = pytest.mark.integration

CHANGES: dict[str, dict[str, Any]] = {
    "model": {"source": "s3://bucket/other"},
    "method": {"method": "Full"},
    "modality": {"modality": "Vision"},
    "vision": {"maxPixels": 3136},
    "objective": {"type": "DPO"},
    "dataset": {"validationSplit": 0.2},
    "training": {"lora": {"rank": 8}},
    "output": {"modelName": "other"},
    "storage": {"region": "eu-central-1"},
    "resources": {"memory": "32Gi"},
    "podTemplate": {"labels": {"team": "a"}},
    "checkpoint": {"keep": 3},
    "evaluation": {"maxRows": 10},
    "carbon": {"zone": "DEU"},
    "trackers": {"tensorboard": {}},
    "dryRun": {"dryRun": True},
    "stallTimeoutSeconds": {"stallTimeoutSeconds": 600},
}
"""A valid change to every immutable field of a FineTuneJob."""

MUTABLE = {
    "suspend": True,
    "backoffLimit": 5,
    "interruptionLimit": 5,
    "activeDeadlineSeconds": 60,
    "ttlSecondsAfterFinished": 60,
}


@pytest_asyncio.fixture
async def raw(cluster: ControlPlane, namespace: str) -> AsyncIterator[RawApi]:
    """The API server, over plain HTTP."""
    async with RawApi(cluster.kubeconfig, namespace) as client:
        yield client


def _causes(answer: Answer) -> list[tuple[str, str]]:
    """Return field and message of everything that was refused."""
    causes = answer.body.get("details", {}).get("causes", ())
    return [(cause.get("field", ""), cause["message"]) for cause in causes]


def _case_id(case: RuleCase) -> str:
    return f"{case.kind.name}: {case.message}"


@pytest.mark.parametrize("case", RULE_CASES, ids=_case_id)
async def test_a_broken_rule_is_refused_by_the_field_and_its_neighbour_passes(
    raw: RawApi, case: RuleCase
) -> None:
    refused = await raw.create(case.kind, json.dumps(spec_of(case.kind, case.refused)))
    accepted = await raw.create(case.kind, json.dumps(spec_of(case.kind, case.accepted)))

    assert not refused.accepted
    assert [(field, case.message in message) for field, message in _causes(refused)] == [(case.field, True)]
    assert accepted.accepted, accepted.message


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize(
    ("name", "want_message"),
    [
        ("a" * (MAX_NAME_LENGTH + 1), "at most 40 characters"),
        ("1a", "begin with a letter"),
        ("a.b", "lower-case letters, digits and '-'"),
    ],
)
async def test_a_name_that_children_could_not_take_is_refused(
    raw: RawApi, kind: Kind, name: str, want_message: str
) -> None:
    answer = await raw.create(kind, json.dumps(spec_of(kind, {})), name=name)

    assert not answer.accepted
    assert [(field, want_message in message) for field, message in _causes(answer)] == [
        ("metadata.name", True)
    ]


async def test_a_job_that_would_wait_for_itself_is_refused(raw: RawApi) -> None:
    spec = spec_of(FINETUNEJOB, {"model": {"source": None, "fineTuneJobRef": {"name": "bot"}}})

    refused = await raw.create(FINETUNEJOB, json.dumps(spec), name="bot")
    accepted = await raw.create(FINETUNEJOB, json.dumps(spec), name="bot-2")

    assert not refused.accepted
    message = "spec.model.fineTuneJobRef must name another object: this one would wait for itself"
    assert [(field, message in text) for field, text in _causes(refused)] == [
        ("spec.model.fineTuneJobRef.name", True)
    ]
    assert accepted.accepted, accepted.message


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_the_longest_name_passes(raw: RawApi, kind: Kind) -> None:
    answer = await raw.create(kind, json.dumps(spec_of(kind, {})), name="a" * MAX_NAME_LENGTH)

    assert answer.accepted, answer.message


async def _created(raw: RawApi, kind: Kind, *, name: str = "made", **patch: Any) -> dict[str, Any]:
    answer = await raw.create(kind, json.dumps(spec_of(kind, patch)), name=name, dry_run=False)
    assert answer.accepted, answer.message
    return answer.body


async def test_what_shapes_the_result_of_a_job_is_immutable(raw: RawApi) -> None:
    assert set(CHANGES) == set(IMMUTABLE_FIELDS)
    plain = await _created(raw, FINETUNEJOB)
    seeing = await _created(raw, FINETUNEJOB, name="seeing", modality="Vision")
    for name, change in CHANGES.items():
        job = seeing if name == "vision" else plain
        changed = copy.deepcopy(job)
        changed["spec"] = merged(job["spec"], change if name in change else {name: change})
        answer = await raw.replace(FINETUNEJOB, changed)

        assert not answer.accepted, name
        message = f"{name} is immutable; create a new FineTuneJob"
        assert [(field, message in text) for field, text in _causes(answer)] == [(f"spec.{name}", True)]


async def test_limits_and_suspension_of_a_job_can_change(raw: RawApi) -> None:
    job = await _created(raw, FINETUNEJOB)

    answer = await raw.replace(FINETUNEJOB, {**job, "spec": {**job["spec"], **MUTABLE}})

    assert answer.accepted, answer.message
    assert set(MUTABLE) | set(IMMUTABLE_FIELDS) == set(FINETUNEJOB.spec.model_json_schema()["properties"])


async def test_every_field_of_a_deployment_can_change(raw: RawApi) -> None:
    deployment = await _created(raw, MODELDEPLOYMENT)
    patch = {
        "model": {"source": None, "fineTuneJobRef": {"name": "bot"}},
        "servedModelName": "other",
        "engine": {"args": {"maxModelLen": 1024}, "extraArgs": ["--seed=1"]},
        "replicas": 3,
        "resources": {"gpus": 2},
        "podTemplate": {"nodeSelector": {"a": "b"}},
        "rollout": {"progressDeadlineSeconds": 60},
        "storage": {"region": "eu-central-1"},
        "carbon": {"pue": 1.2},
    }

    answer = await raw.replace(MODELDEPLOYMENT, {**deployment, "spec": merged(deployment["spec"], patch)})

    assert answer.accepted, answer.message
    assert set(patch) == set(MODELDEPLOYMENT.spec.model_json_schema()["properties"])

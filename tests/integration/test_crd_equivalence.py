"""The CRDs and the pydantic models accept and refuse the same objects, and mean the same by them."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError

from hack.cluster import ControlPlane
from hack.crd import custom_resource_definition
from modelgarden.api.kinds import KINDS, Kind
from tests.integration.crd_api import Answer, RawApi
from tests.integration.crd_cases import Cases, Schema
from tests.rule_cases import rule_messages

CASES_PER_KIND = 8000
STATUSES_PER_KIND = 300
SEED = 20261121

pytestmark = pytest.mark.integration


@dataclass
class Tally:
    """What came of the cases."""

    accepted: int = 0
    refused: int = 0
    reasons: set[str] = field(default_factory=set)

    def count(self, answer: Answer) -> None:
        """Count an answer and keep why an object was refused."""
        self.accepted += answer.accepted
        self.refused += not answer.accepted
        causes = answer.body.get("details", {}).get("causes", ())
        self.reasons.update(cause["message"] for cause in causes)


def _schema(kind: Kind, part: str) -> Schema:
    version = custom_resource_definition(kind)["spec"]["versions"][0]
    schema: Schema = version["schema"]["openAPIV3Schema"]["properties"][part]
    return schema


def _compare(kind: Kind, text: str, answer: Answer) -> str | None:
    """Return how the API server and the model differ over a spec, or None."""
    try:
        spec = kind.spec.from_dict(json.loads(text)).to_dict()
    except ValidationError as error:
        return f"refused by the model only: {error}" if answer.accepted else None
    if not answer.accepted:
        return f"refused by the API server only: {answer.message}"
    stored = answer.body["spec"]
    return None if stored == spec else f"stored as {stored}, but the model has {spec}"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_the_api_server_and_the_model_agree_on_every_spec(
    cluster: ControlPlane, namespace: str, kind: Kind, figure: Callable[[str], None]
) -> None:
    cases = Cases(_schema(kind, "spec"), random.Random(f"{SEED}-{kind.name}"))
    tally = Tally()
    differences: list[str] = []
    texts = iter([cases.text() for _ in range(CASES_PER_KIND)])

    async def work(raw: RawApi) -> None:
        for text in texts:
            answer = await raw.create(kind, text)
            tally.count(answer)
            if difference := _compare(kind, text, answer):
                differences.append(f"{text}\n  {difference}")

    started = time.monotonic()
    async with RawApi(cluster.kubeconfig, namespace) as raw:
        await asyncio.gather(*(work(raw) for _ in range(16)))
    seconds = time.monotonic() - started

    figure(f"{kind.name}: {tally.accepted} accepted, {tally.refused} refused by both in {seconds:.0f} s")
    assert not differences, f"{len(differences)} differences, such as\n" + "\n".join(differences[:5])
    assert tally.accepted + tally.refused == CASES_PER_KIND
    unbroken = [
        message
        for message in rule_messages(kind)
        if not any(reason.endswith(message) for reason in tally.reasons)
    ]
    assert not unbroken
    assert min(tally.accepted, tally.refused) > CASES_PER_KIND / 5, "the cases are too much alike"


def _with_totals(value: Any) -> Any:
    """Return a status whose energy records hold their identity."""
    if isinstance(value, list):
        return [_with_totals(item) for item in value]
    if not isinstance(value, dict):
        return value
    fixed = {key: _with_totals(item) for key, item in value.items()}
    if {"gpu", "cpu"} & fixed.keys() and not isinstance(fixed.get("gpu", fixed.get("cpu")), str):
        parts = {part: min(fixed.get(part, 0), 2**51) for part in ("gpu", "cpu", "ram")}
        return {**parts, "total": sum(parts.values())}
    return fixed


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_the_api_server_takes_every_status_that_the_model_takes(
    cluster: ControlPlane, namespace: str, kind: Kind, figure: Callable[[str], None]
) -> None:
    cases = Cases(_schema(kind, "status"), random.Random(f"{SEED}-{kind.name}-status"))
    spec = Cases(_schema(kind, "spec"), random.Random(SEED))
    taken = 0
    async with RawApi(cluster.kubeconfig, namespace) as raw:
        created = Answer(422, {})
        while not created.accepted:
            created = await raw.create(kind, json.dumps(spec.valid()), dry_run=False)
        for _ in range(STATUSES_PER_KIND):
            status = _with_totals(cases.valid())
            status["conditions"] = list({one["type"]: one for one in status.get("conditions", ())}.values())
            try:
                kind.status.from_dict(status)
            except ValidationError:
                continue
            answer = await raw.replace(kind, {**created.body, "status": status}, subresource="/status")
            assert answer.accepted, f"{status}: {answer.message}"
            taken += 1
    figure(f"{kind.name}: {taken} statuses taken")
    assert taken > STATUSES_PER_KIND / 2

"""The loop that every kind shares: effects come first, and their results are observed before the plan is made anew."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import pytest
from pydantic import ValidationError

from modelgarden.controller.means import Means
from modelgarden.controller.plan import Effect, Event, Plan
from modelgarden.controller.reconcile import MOST_EFFECTS, KindReconciler
from modelgarden.controller.view import View
from modelgarden.kube.cache import Cache
from modelgarden.kube.errors import Retryable
from modelgarden.kube.resources import FINETUNEJOBS, JOBS, Key, Resource
from tests.unit.builders import NOW, SETTINGS, make_owner

KEY = Key(FINETUNEJOBS, "team", "bot")


@dataclass(frozen=True)
class Add(Effect):
    """Add one to what is seen."""


@dataclass
class Counting:
    """A kind that wants to see a number, and adds to it until then."""

    wanted: int
    forgotten: list[Key] = field(default_factory=list)
    resource: Resource = FINETUNEJOBS

    def subject(self, owner: Mapping[str, Any]) -> str:
        return str(owner["metadata"]["name"])

    def session(self, subject: str) -> Counting:
        return self

    async def observe(self) -> int:
        return 0

    async def perform(self, effect: Effect, seen: int) -> int:
        assert effect == Add()
        return seen + 1

    def plan(self, view: View[str, int]) -> Plan:
        return Plan(effect=Add()) if view.seen < self.wanted else Plan(requeue_after=float(view.seen))

    def unreadable(self, owner: Mapping[str, Any], error: ValidationError, now: datetime) -> Plan:
        raise AssertionError("everything can be read")

    def forget(self, key: Key) -> None:
        self.forgotten.append(key)


def reconciler(kind: Counting, owner: dict[str, Any] | None) -> KindReconciler[str, int]:
    cache = Cache()
    if owner is not None:
        cache.put(FINETUNEJOBS, owner)
    # A plan without objects and status asks the API server for nothing.
    nothing = cast(Any, None)
    means = Means(
        kube=nothing,
        cache=cache,
        storage=nothing,
        reports=nothing,
        refusals=nothing,
        gpus=nothing,
        settings=SETTINGS,
        clock=lambda: NOW,
    )
    return KindReconciler(kind, means)


async def test_effects_are_done_until_the_plan_wants_none() -> None:
    assert await reconciler(Counting(wanted=3), make_owner()).reconcile(KEY) == 3.0


async def test_effects_without_an_end_are_given_up() -> None:
    with pytest.raises(Retryable, match="do not come to an end"):
        await reconciler(Counting(wanted=MOST_EFFECTS + 1), make_owner()).reconcile(KEY)


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "being deleted"])
async def test_what_is_gone_is_forgotten(gone: bool) -> None:
    kind, owner = Counting(wanted=0), make_owner()
    owner["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"

    assert await reconciler(kind, None if gone else owner).reconcile(KEY) is None
    assert kind.forgotten == [KEY]


async def test_each_plan_is_told_in_the_log_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "modelgarden")

    await reconciler(Counting(wanted=1), make_owner()).reconcile(KEY)

    assert [record.getMessage() for record in caplog.records] == [
        "Plan: first Add; look again with the next event",
        "Plan: look again in 1.0 s",
    ]
    assert {vars(record)["object"] for record in caplog.records} == {make_owner()["metadata"]["name"]}


def test_the_summary_of_a_plan_tells_all_that_it_does() -> None:
    plan = Plan(
        objects=({"kind": "Job", "metadata": {"name": "bot-train"}},),
        deletes=((JOBS, "bot-prepare"),),
        status={"phase": "Blocked"},
        event=Event("Warning", "SecretNotFound", "Secret 's3' does not exist; create it."),
        requeue_after=5.0,
    )

    assert plan.summary == (
        "phase Blocked; SecretNotFound: Secret 's3' does not exist; create it.; apply Job bot-train; "
        "delete Job bot-prepare; look again in 5.0 s"
    )

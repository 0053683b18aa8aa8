"""Short words for plans in tests."""

from __future__ import annotations

from typing import Any

from modelgarden.api.conditions import REASONS
from modelgarden.controller.plan import Plan
from modelgarden.controller.view import View
from modelgarden.finetune.observation import Observation
from modelgarden.finetune.plan import plan as plan_for
from modelgarden.finetune.subject import Subject
from tests.unit.builders import NOW, SETTINGS


def plan_of(subject: Subject, **seen: Any) -> Plan:
    return plan_for(View(subject, Observation(**seen), SETTINGS, NOW))


def conditions_of(plan: Plan) -> dict[str, dict[str, Any]]:
    assert plan.status is not None
    found = {one["type"]: one for one in plan.status["conditions"]}
    assert all(one["reason"] in REASONS for one in found.values())
    assert all(one["message"] for one in found.values())
    return found


def phase_of(plan: Plan) -> str:
    assert plan.status is not None
    return str(plan.status["phase"])


def names_of(plan: Plan) -> list[str]:
    return [one["metadata"]["name"] for one in plan.objects]

"""The rules' twins in Python: they refuse and accept what the CRD's rules do."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from modelgarden.api.finetunejob import IMMUTABLE_FIELDS
from modelgarden.api.kinds import FINETUNEJOB, KINDS, Kind
from tests.rule_cases import RULE_CASES, RuleCase, rule_messages, spec_of


def _case_id(case: RuleCase) -> str:
    return f"{case.kind.name}: {case.message}"


@pytest.mark.parametrize("case", RULE_CASES, ids=_case_id)
def test_the_model_refuses_a_broken_rule(case: RuleCase) -> None:
    with pytest.raises(ValidationError) as caught:
        case.kind.spec.from_dict(spec_of(case.kind, case.refused))

    (error,) = caught.value.errors()
    place = ".".join(["spec", *(str(part) for part in error["loc"])]).replace(".0", "[0]")
    assert case.field.startswith(place)
    assert case.field.rpartition(".")[2] in f"{place} {error['msg']}"


@pytest.mark.parametrize("case", RULE_CASES, ids=_case_id)
def test_the_model_accepts_what_keeps_the_rule(case: RuleCase) -> None:
    case.kind.spec.from_dict(spec_of(case.kind, case.accepted))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_rule_has_a_case(kind: Kind) -> None:
    covered = [case.message for case in RULE_CASES if case.kind is kind]

    assert [message for message in rule_messages(kind) if not any(part in message for part in covered)] == []


def test_what_is_immutable_and_what_can_change_is_the_whole_spec() -> None:
    changeable = {
        "suspend", "backoffLimit", "interruptionLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished",
    }  # fmt: skip

    assert changeable | set(IMMUTABLE_FIELDS) == set(FINETUNEJOB.spec.model_json_schema()["properties"])

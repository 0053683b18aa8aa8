"""Conditions and the closed list of reasons."""

from __future__ import annotations

import re

from modelgarden.api.conditions import REASONS, TYPES, Condition, settled

EARLIER, LATER = "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"


def _condition(status: str, time: str) -> Condition:
    return Condition.from_dict(
        {
            "type": "Running",
            "status": status,
            "reason": "Training",
            "message": "The training pod runs.",
            "observedGeneration": 1,
            "lastTransitionTime": time,
        }
    )


def test_names_are_pascal_case_and_meanings_are_sentences() -> None:
    meanings = {**REASONS, **{name: text for types in TYPES.values() for name, text in types.items()}}
    for name, text in meanings.items():
        assert re.fullmatch(r"([A-Z][A-Za-z0-9]+)+", name)
        assert re.fullmatch(r"\S.*\.", text), name


def test_the_transition_time_stays_while_the_status_does_not_flip() -> None:
    kept = settled([_condition("True", LATER)], [_condition("True", EARLIER)])
    flipped = settled([_condition("False", LATER)], [_condition("True", EARLIER)])

    assert [one.last_transition_time for one in (*kept, *flipped)] == [EARLIER, LATER]

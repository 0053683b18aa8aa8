"""What is found in single rows."""

from __future__ import annotations

import pickle

import pytest

from modelgarden.api.finetunejob import Quality
from modelgarden_train.data.formats import parse_row
from modelgarden_train.data.quality.checks import RowChecks
from modelgarden_train.data.rows import Row

ALL = Quality(
    min_tokens=3,
    too_short="Flag",
    cut_off_answers="Flag",
    profanity="Flag",
    emails="Flag",
    secrets="Flag",
)


def row(prompt: str, completion: str) -> Row:
    return parse_row({"prompt": prompt, "completion": completion}, "PromptCompletion")


def reasons(one: Row, *, tokens: int = 10, quality: Quality = ALL) -> list[str]:
    (findings,) = RowChecks(quality, longest=20).findings([one], [tokens])
    return [finding.reason for finding in findings]


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (row("Who?", "You stupid fucking asshole."), "Profanity"),
        (row("My address is anna@gmail.com.", "Thanks."), "Email"),
        (row("Is hf_" + "a1B2" * 9 + " right?", "Yes."), "Secret"),
        (row("Where?", "It is Paris. It lies on the"), "CutOffAnswer"),
    ],
)
def test_each_is_found_and_not_looked_for_where_it_is_kept(one: Row, reason: str) -> None:
    assert reasons(one) == [reason]
    assert reasons(one, quality=Quality()) == []


@pytest.mark.parametrize(("tokens", "found"), [(2, ["TooShort"]), (3, []), (20, []), (21, ["TooLong"])])
def test_lengths_are_held_against_both_bounds(tokens: int, found: list[str]) -> None:
    assert reasons(row("Where?", "Paris."), tokens=tokens) == found


def test_nothing_found_is_told_in_words_and_never_itself() -> None:
    key = "hf_" + "a1B2" * 9
    (findings,) = RowChecks(ALL, longest=20).findings([row(f"{key} anna@gmail.com", "Yes.")], [5])

    assert [finding.kind for finding in findings] == ["Hugging Face token", ""]


def test_rows_are_checked_alike_alone_together_and_in_another_process() -> None:
    rows = [row(f"Question {number}?", "You idiot." if number % 3 else "Fine.") for number in range(20)]
    checks = pickle.loads(pickle.dumps(RowChecks(ALL, longest=20)))  # noqa: S301 -- its own bytes

    together = checks.findings(rows, [10] * 20)

    assert together == [checks.findings([one], [10])[0] for one in rows]
    assert checks.findings([], []) == []

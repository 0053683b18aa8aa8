"""Why no row is left is told with what was dropped, where first, and what keeps it."""

from __future__ import annotations

import pytest

from modelgarden.api.artifact import FindingRecord
from modelgarden_train.data.bad_rows import BadRows
from modelgarden_train.data.quality.nothing_left import nothing_left


def dropped(*reasons: str) -> list[FindingRecord]:
    return [
        FindingRecord(reason=reason, action="Drop", rows=60, places=("line 1 (why)", "line 2"))
        for reason in reasons
    ]


@pytest.mark.parametrize(
    ("reasons", "wanted", "unwanted"),
    [
        (["Overlap"], "give dataset.validationSources other prompts", "maxSequenceLength"),
        (["TooLong"], "training.maxSequenceLength (400 tokens now)", "flag them"),
        (["EmptyAnswer"], "60 EmptyAnswer (first: line 1 (why)); correct the rows", "maxSequenceLength"),
        (["BadRow", "EmptyAnswer"], "correct the rows", "correct the rows, correct"),
        (["Secret"], "set dataset.quality to flag them", "validationSources"),
        (["TooShort", "TooLong"], "lower dataset.quality.minTokens, split long rows, raise", "flag them"),
        (["NearDuplicate"], "add rows that differ", "correct the rows"),
    ],
)
def test_only_what_keeps_the_dropped_rows_is_advised(reasons: list[str], wanted: str, unwanted: str) -> None:
    error = nothing_left("to train on", read=60, findings=dropped(*reasons), longest=400)

    assert error.reason == "DatasetInvalid"
    assert error.message.startswith("no row to train on is left of 60; dropped of all rows: 60 ")
    assert wanted in error.message
    assert unwanted not in error.message


def test_bad_rows_are_a_finding_where_there_are_any() -> None:
    bad, none = BadRows(), BadRows()
    bad.add(2, ["line 1: why"])

    assert none.records == ()
    assert bad.records == (FindingRecord(reason="BadRow", action="Drop", rows=2, places=("line 1: why",)),)


def test_files_of_blank_lines_have_no_rows() -> None:
    error = nothing_left("of dataset.validationSources", read=0, findings=dropped("Duplicate"), longest=400)

    assert error.message == "there are no rows of dataset.validationSources; upload files with rows"


def test_what_is_flagged_is_not_told_as_dropped() -> None:
    flagged = FindingRecord(reason="Email", action="Flag", rows=1, places=("line 1",))

    error = nothing_left("to train on", read=1, findings=[*dropped("Overlap"), flagged], longest=400)

    assert "Email" not in error.message

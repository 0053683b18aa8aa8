"""Counts of what was found, with the first places."""

from __future__ import annotations

import pytest

from modelgarden.api.artifact import FindingRecord
from modelgarden.api.finetunejob import Quality
from modelgarden_pod.errors import UserError
from modelgarden_train.data.quality.findings import Finding, verdict
from modelgarden_train.data.quality.tally import Tally


def test_rows_are_counted_by_reason_with_their_first_places() -> None:
    tally, quality = Tally(), Quality(secrets="Flag", emails="Flag")
    for line in range(1, 106):
        tally.add(verdict([Finding("Secret", "Slack Token"), Finding("Email")], quality), f"line {line}")
    tally.add(verdict([Finding("Duplicate"), Finding("Email")], quality), "line 106")
    tally.add(verdict([], quality), "line 107")
    tally.require_none_failed()

    assert tally.rows("Drop") == {"Duplicate": 1}
    assert tally.rows("Flag") == {"Secret": 105, "Email": 105}
    lines = [f"line {line}" for line in range(1, 101)]
    assert tally.records == (
        FindingRecord(reason="Duplicate", action="Drop", rows=1, places=("line 106",)),
        FindingRecord(
            reason="Secret", action="Flag", rows=105, places=tuple(f"{line} (Slack Token)" for line in lines)
        ),
        FindingRecord(reason="Email", action="Flag", rows=105, places=tuple(lines)),
    )


def test_what_must_not_be_ends_as_a_message_with_places_field_and_remedy() -> None:
    tally, quality = Tally(), Quality(secrets="Fail", cut_off_answers="Fail")
    for line in range(1, 6):
        tally.add(verdict([Finding("Secret", "Slack Token")], quality), f"line {line}")
    tally.add(verdict([Finding("CutOffAnswer")], quality), "line 9")

    with pytest.raises(UserError) as raised:
        tally.require_none_failed()

    assert raised.value.reason == "DatasetInvalid"
    assert raised.value.message == (
        "line 1 (Slack Token); line 2 (Slack Token); line 3 (Slack Token) and 2 more: the row has a key "
        "(dataset.quality.secrets is Fail). line 9: the answer stops in the middle (dataset.quality.cutOffAnswers is Fail). "
        "Correct the rows, or set the field to Drop"
    )

"""The energy of a run that failed."""

from __future__ import annotations

import pytest

from modelgarden.api.emissions import CarbonState, ended_record
from modelgarden.finetune.emissions import final
from tests.unit.builders import make_emissions


def test_without_any_record_there_is_none() -> None:
    assert final(None, None) is None
    assert final(None, ()) is None


def test_what_was_left_in_storage_is_enough() -> None:
    left = make_emissions({"a": 100}, reason="Failed")

    assert final(None, (left,)) == left


def test_what_was_seen_and_is_not_in_storage_stays() -> None:
    seen = make_emissions({"a": 100})

    found = final(seen, (make_emissions({"b": 10}, reason="Failed"),))

    assert found is not None
    assert found.energy_joules.total == 110


@pytest.mark.parametrize(
    ("state", "reason", "want"),
    [
        pytest.param("Measured", "Running", "Partial", id="what came after the last report is missing"),
        pytest.param("Measured", "Completed", "Measured", id="the last report was of its end"),
        pytest.param("Unavailable", "Running", "Unavailable", id="nothing could be metered at all"),
    ],
)
def test_without_an_answer_of_storage_the_sum_says_what_it_lacks(
    state: CarbonState, reason: str, want: CarbonState
) -> None:
    seen = make_emissions({"a": 100}, reason=reason, state=state)

    found = final(seen, None)

    assert found == ended_record(seen, reason="Lost").model_copy(update={"state": want})

"""How long a reconcile waits for what somebody has to mend."""

from __future__ import annotations

import pytest

from modelgarden.api.conditions import Problem
from modelgarden.controller.waiting import patience, recheck
from tests.unit.builders import NOW


@pytest.mark.parametrize(
    ("kept", "want"),
    [(None, 5.0), (7.5, 7.5), (0.0, 0.5)],
    ids=["nothing is kept", "an answer is kept for 7.5 s", "the kept answer is over"],
)
def test_the_next_look_comes_when_the_kept_answer_is_over(kept: float | None, want: float) -> None:
    assert recheck(Problem("DatasetNotFound", "Upload it.", recheck_after=kept)) == want


def test_patience_never_waits_less_than_nothing_when_clocks_jump() -> None:
    assert patience(NOW, NOW.replace(year=2025), shortest=5, longest=60) == 5

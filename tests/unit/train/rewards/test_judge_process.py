"""How a process has ended that should not have."""

from __future__ import annotations

import pytest

from modelgarden_train.rewards.judge_process import ended


@pytest.mark.parametrize(
    ("code", "printed", "want"),
    [
        (3, (), "it ended with exit code 3"),
        (-11, (), "it was ended by SIGSEGV"),
        (-9, (), "it was killed, as is done where the pod needs more memory"),
        (1, ("first", "last"), "it ended with exit code 1; it printed last: first | last"),
    ],
)
def test_an_end_is_told_with_what_was_printed_last(code: int, printed: tuple[str, ...], want: str) -> None:
    assert ended(code, printed) == want

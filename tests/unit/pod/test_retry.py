"""Patience: only what is temporary is repeated, and not for ever."""

from __future__ import annotations

import pytest

from modelgarden_pod.errors import TemporaryError, UserError
from modelgarden_pod.retry import Patience

QUICK = Patience(total=0.2, first_delay=0.001, longest_delay=0.01)


def test_a_temporary_failure_is_repeated_until_it_passes() -> None:
    failures = [TemporaryError("away"), TemporaryError("still away")]

    def action() -> str:
        if failures:
            raise failures.pop()
        return "done"

    assert QUICK.retry("work", action) == "done"
    assert failures == []


def test_patience_ends_with_the_last_failure() -> None:
    def action() -> None:
        raise TemporaryError("away")

    with pytest.raises(TemporaryError, match=r"work failed for 0 s: away"):
        QUICK.retry("work", action)


def test_a_user_error_is_raised_at_once() -> None:
    calls = []

    def action() -> None:
        calls.append(1)
        raise UserError("AccessDenied", "no")

    with pytest.raises(UserError):
        QUICK.retry("work", action)
    assert calls == [1]


def test_an_outage_is_told_for_as_long_as_it_lasts() -> None:
    patience = Patience(total=0.2, first_delay=0.001, longest_delay=0.01)
    limited = patience.limited(0.05)

    def away() -> None:
        raise TemporaryError("away")

    with pytest.raises(TemporaryError):
        limited.retry("work", away)
    assert patience.outage.message == "away", "patience that is derived shares the outage"

    patience.retry("work", lambda: None)
    assert limited.outage.message is None

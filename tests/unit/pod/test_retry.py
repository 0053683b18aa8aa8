"""Patience: only what is temporary is repeated, and not for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden_pod.errors import TemporaryError, UserError
from tests.unit.pod.hand_time import HandTime


def away() -> None:
    raise TemporaryError("away")


def test_a_temporary_failure_is_repeated_until_it_passes() -> None:
    time = HandTime()
    failures = [TemporaryError("away"), TemporaryError("still away")]

    def action() -> str:
        if failures:
            raise failures.pop()
        return "done"

    assert time.patience().retry("work", action) == "done"
    assert failures == []
    assert len(time.waits) == 2


def test_patience_ends_with_the_last_failure() -> None:
    time = HandTime()

    with pytest.raises(TemporaryError, match=r"work failed for 90 s: away"):
        time.patience(total=90.0).retry("work", away)

    assert 70 <= time.now <= 90, "the last wait would have ended later than the patience"


@given(st.integers(1, 600))
def test_waits_double_up_to_the_longest_with_half_of_each_left_to_chance(total: int) -> None:
    time = HandTime()

    with pytest.raises(TemporaryError):
        time.patience(total=float(total), first_delay=0.5, longest_delay=20.0).retry("work", away)

    assert time.now <= total
    ceilings = [min(20.0, 0.5 * 2**place) for place in range(len(time.waits))]
    for wait, ceiling in zip(time.waits, ceilings, strict=True):
        assert ceiling / 2 <= wait <= ceiling


def test_an_attempt_that_takes_long_uses_up_the_patience() -> None:
    time = HandTime()
    calls = []

    def slow() -> None:
        calls.append(1)
        time.now += 40
        raise TemporaryError("away")

    with pytest.raises(TemporaryError):
        time.patience(total=60.0).retry("work", slow)

    assert len(calls) == 2


def test_a_user_error_is_raised_at_once() -> None:
    time = HandTime()
    calls = []

    def action() -> None:
        calls.append(1)
        raise UserError("AccessDenied", "no")

    with pytest.raises(UserError):
        time.patience().retry("work", action)
    assert calls == [1]
    assert time.waits == []


def test_an_outage_is_told_for_as_long_as_it_lasts() -> None:
    time = HandTime()
    patience = time.patience(total=90.0)
    limited = patience.limited(10.0)

    with pytest.raises(TemporaryError):
        limited.retry("work", away)
    assert time.now <= 10
    assert patience.outage.message == "away", "patience that is derived shares the outage"

    patience.retry("work", lambda: None)
    assert limited.outage.message is None

"""Patience: only what is temporary is repeated, and not for ever."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden_pod.errors import TemporaryError, UserError
from modelgarden_pod.retry import Patience
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


def test_a_wait_without_an_end_is_told_while_it_lasts() -> None:
    outage = Patience().outage
    told = threading.Event()

    def look() -> str | None:
        while outage.message is None:
            assert not told.wait(0.001)
        return outage.message

    with outage.told_if_silent("hub.example has not answered", after=0.01):
        assert look() == "hub.example has not answered for 0 s"


def test_what_answers_in_time_is_not_told() -> None:
    outage = Patience().outage

    with outage.told_if_silent("hub.example has not answered", after=600):
        pass

    assert outage.message is None
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_outages_of_one_are_told_apart_from_those_of_another() -> None:
    time = HandTime()
    storage = time.patience(total=1.0)
    hub = storage.apart()

    with pytest.raises(TemporaryError):
        hub.retry("hub", away)
    storage.retry("storage", lambda: None)

    assert (storage.outage.message, hub.outage.message) == (None, "away")

"""Waiting for a condition with a deadline, in place of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

FIRST_POLL_SECONDS = 0.05
LONGEST_POLL_SECONDS = 0.4
POLL_GROWTH = 1.25
"""A wait is little more than a quarter longer than what it waits for, without asking ten times a second all the time."""
CLOSE_POLL_SECONDS = 0.1
"""For what must be seen early, or looked at all the time."""


def wait_for(
    condition: Callable[[], T],
    timeout: float = 30.0,
    *,
    what: str = "",
    longest_pause: float = LONGEST_POLL_SECONDS,
) -> T:
    """Poll until the condition returns something true, and return that; failed assertions count as not yet.

    Raises:
        AssertionError: it did not within `timeout` seconds; the message carries what was seen last.
    """
    deadline = time.monotonic() + timeout
    pause = FIRST_POLL_SECONDS
    last: object = None
    while True:
        try:
            last = found = condition()
            if found:
                return found
        except AssertionError as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{what or 'the condition'} did not hold within {timeout:.0f} s; last: {last}"
            )
        time.sleep(max(0.0, min(pause, deadline - time.monotonic())))
        pause = min(longest_pause, pause * POLL_GROWTH)


def stays(condition: Callable[[], object], seconds: float, *, what: str = "") -> None:
    """Check that the condition holds again and again for a time.

    Raises:
        AssertionError: it did not once.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), f"{what or 'the condition'} did not hold all the time"
        time.sleep(CLOSE_POLL_SECONDS)

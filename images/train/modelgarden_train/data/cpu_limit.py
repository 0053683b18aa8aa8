"""Ends what computes for ever, such as somebody's template with a loop in a loop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TooMuchCpu(Exception):  # noqa: N818  # what it raises, not what went wrong in us
    """What was done has taken more CPU time than it may."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise in what is done inside once this process has computed for so long: a machine that is busy takes nothing from it.

    Only in the main thread, and only Python code is ended.

    Raises:
        TooMuchCpu: it has.
    """

    def end(number: int, frame: FrameType | None) -> None:
        raise TooMuchCpu(f"it takes more than {seconds:g} s of CPU time")

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)

"""What the person sees while a cluster starts: one line a step with its seconds, and the same as JSON lines on request.

Everything long runs inside `step(...)`. `--events` adds {"step", "state", "seconds"} lines for a program that shows a view.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from typing import TextIO


class Progress:
    """Prints steps to a text stream and, if given, events to a second one."""

    def __init__(self, text: TextIO, events: TextIO | None = None) -> None:
        self._text = text
        self._events = events

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block as the step `name`."""
        started = time.monotonic()
        self._emit(name, "started", 0.0)
        state = "failed"
        try:
            yield
            state = "done"
        finally:
            seconds = time.monotonic() - started
            self._emit(name, state, seconds)
            print(
                f"{name} {'...' if state == 'done' else 'FAILED after'} {seconds:.1f} s",
                file=self._text,
                flush=True,
            )

    def say(self, sentence: str) -> None:
        """Print a sentence that is no step."""
        print(sentence, file=self._text, flush=True)

    def _emit(self, name: str, state: str, seconds: float) -> None:
        if self._events is not None:
            print(
                json.dumps({"step": name, "state": state, "seconds": round(seconds, 3)}),
                file=self._events,
                flush=True,
            )


_current = Progress(sys.stderr)


def use(progress: Progress) -> None:
    """Make `progress` the one that all steps report to; the default prints to stderr."""
    global _current
    _current = progress


def step(name: str) -> contextlib.AbstractContextManager[None]:
    """Time the block as the step `name`."""
    return _current.step(name)


def say(sentence: str) -> None:
    """Print a sentence that is no step."""
    _current.say(sentence)

"""SIGTERM: outside of training it ends the command at once, during training it waits for the next step. A real-time
signal: where a worker stands.

Imports no library, so that the handler stands before the slow imports begin.
"""

from __future__ import annotations

import faulthandler
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from modelgarden_pod.errors import Terminated

STACKS_SIGNAL: Final = signal.SIGRTMIN
"""Has a worker write to its log where each of its threads stands, and end. Not SIGUSR1 or SIGUSR2: once Triton compiles,
LLVM handles these, those that end a process and SIGTERM itself (llvm/lib/Support/Unix/Signals.inc), and of them SIGUSR1
alone without what was registered before.
"""


def show_stacks_on_request() -> None:
    """Have the signal write the stacks, whatever the interpreter is stuck in; what the signal does by itself comes then."""
    faulthandler.register(STACKS_SIGNAL, all_threads=True, chain=True)


class StopRequest:
    """Whether SIGTERM has come. Installed once, in the main thread."""

    def __init__(self) -> None:
        self.received = False
        self._came: float | None = None
        self._deferred = False
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)

    @property
    def seconds(self) -> float:
        """Seconds since SIGTERM has come, 0 before."""
        return time.monotonic() - self._came if self._came is not None else 0.0

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note the signal inside; whoever is inside looks at `received`, and raises what comes of it."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def check(self) -> None:
        """Raise what a noted signal means.

        Raises:
            Terminated: SIGTERM has come.
        """
        if self.received:
            raise Terminated("stopped by SIGTERM")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first = not self.received
        self.received = True
        self._came = self._came or time.monotonic()
        if first and not self._deferred:
            self.check()


class Stopping:
    """The end of an attempt that was asked for: by SIGTERM here, or in another pod of the training."""

    def __init__(self, stop: StopRequest) -> None:
        self._stop = stop
        self._since: float | None = None

    def asked(self, *, also: bool) -> bool:
        """Look now; tell once that it is asked for."""
        if self.begun or not (self._stop.received or also):
            return False
        self._since = time.monotonic() - self._stop.seconds
        return True

    @property
    def begun(self) -> bool:
        """Whether it was asked for."""
        return self._since is not None

    @property
    def seconds(self) -> float:
        """Seconds since then, 0 before."""
        return time.monotonic() - self._since if self._since is not None else 0.0

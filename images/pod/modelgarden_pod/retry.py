"""Repeat what failed for now, with exponential back-off and equal jitter, until the patience is used up.

Equal jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from modelgarden_pod.errors import TemporaryError

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass
class Outage:
    """What storage or hub last failed with, None while they answer; for those who report on this process."""

    message: str | None = None

    @contextmanager
    def told_if_silent(self, what: str, *, after: float) -> Iterator[None]:
        """Tell it as an outage when what runs inside takes longer than so many seconds, without an end to its wait."""

        def tell() -> None:
            self.message = f"{what} for {after:.0f} s"

        timer = threading.Timer(after, tell)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()  # so that it tells nothing later


@dataclass(frozen=True)
class Patience:
    """How long to keep trying, in seconds."""

    total: float = 600.0
    first_delay: float = 0.5
    longest_delay: float = 20.0
    outage: Outage = field(default_factory=Outage, compare=False)
    """Kept up to date by `retry`; patience derived from this one shares it."""
    clock: Callable[[], float] = field(default=time.monotonic, compare=False, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, compare=False, repr=False)

    def limited(self, total: float) -> Patience:
        """Return the same patience for another time."""
        return replace(self, total=total)

    def apart(self) -> Patience:
        """Return the same patience for something whose outages are told apart from those of all else."""
        return replace(self, outage=Outage())

    def retry(self, what: str, action: Callable[[], T]) -> T:
        """Return the result of the action, repeating it while it raises TemporaryError.

        Raises:
            TemporaryError: it still failed when the patience was used up.
        """
        deadline = self.clock() + self.total
        ceiling = self.first_delay
        while True:
            try:
                result = action()
            except TemporaryError as error:
                self.outage.message = error.message
                delay = random.uniform(ceiling / 2, ceiling)  # noqa: S311 -- jitter, not a secret
                if self.clock() + delay > deadline:
                    raise TemporaryError(f"{what} failed for {self.total:.0f} s: {error.message}") from error
                logger.warning(
                    "It does not answer, trying again",
                    extra={"what": what, "error": error.message, "delaySeconds": round(delay, 1)},
                )
                self.sleep(delay)
                ceiling = min(2 * ceiling, self.longest_delay)
            else:
                self.outage.message = None
                return result

"""A service of object storage for coroutines: a bounded pool of threads, and rest for a service that is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from modelgarden.api.layout import Location
from modelgarden.api.storage.failures import Kind, StorageFailure
from modelgarden.registry.errors import Unavailable, storage_error
from modelgarden.registry.objects import Objects

log = logging.getLogger(__name__)

T = TypeVar("T")

REST_SECONDS = 3.0
"""After a service did not answer, further requests to it fail at once for so long, so that they hold no threads."""


class ObjectService:
    """Runs requests to one service with one set of credentials."""

    def __init__(self, objects: Objects, *, pool: ThreadPoolExecutor, lanes: int) -> None:
        self.name = objects.service.name
        self._objects = objects
        self._pool = pool
        self._lanes = asyncio.Semaphore(lanes)
        self._unavailable: tuple[float, Unavailable] | None = None
        self._probing = False

    @property
    def endpoint(self) -> str:
        """Return the URL of the service, "" before the first request."""
        return self._objects.endpoint

    async def call(
        self,
        action: str,
        location: Location,
        request: Callable[[Objects], T],
        *,
        lost_condition: T | None = None,
    ) -> T | None:
        """Run a request; None: the object is not there, `lost_condition`: a condition failed.

        Raises:
            StorageError: the service refuses or does not answer.
        """
        if self._unavailable is not None:
            until, error = self._unavailable
            # While it is away one request at a time finds out whether it is back; the others need not wait with it.
            if self._probing or time.monotonic() < until:
                raise Unavailable(error.message)
        self._probing = self._unavailable is not None
        loop = asyncio.get_running_loop()
        now_away: tuple[float, Unavailable] | None = None
        started = time.monotonic()
        try:
            async with self._lanes:
                return await loop.run_in_executor(
                    self._pool, lambda: self._translated(action, location, request, lost_condition)
                )
        except Unavailable as error:
            now_away = (time.monotonic() + REST_SECONDS, error)
            raise
        finally:
            self._unavailable, self._probing = now_away, False
            outcome = "answered" if now_away is None else "did not answer"
            log.debug(
                "%s %s: %s %s in %.3f s", action, location, self.name, outcome, time.monotonic() - started
            )

    def _translated(
        self, action: str, location: Location, request: Callable[[Objects], T], lost_condition: T | None
    ) -> T | None:
        objects = self._objects
        try:
            return request(objects)
        except Exception as error:
            failure = objects.failure_of(error)
            if failure is None and isinstance(
                error, OSError
            ):  # such as a bundle of certificates that is not there
                said = f"{self.name} cannot be asked ({error})"
                failure = StorageFailure(objects.service, Kind.PASSING, type(error).__name__, said)
            if failure is None:
                raise
            if failure.kind is Kind.NOT_FOUND:
                return None
            if failure.kind is Kind.PRECONDITION:
                return lost_condition
            raise storage_error(
                failure, action=action, target=str(location), endpoint=objects.endpoint
            ) from error

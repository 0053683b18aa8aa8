"""Workers: take a key, reconcile it, say when to look again. The only place that catches every error.

An error ends with the key in back-off and a line in the log; only `Lost` ends the process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Final

from modelgarden.controller.plan import Reconciler
from modelgarden.kube.errors import Invalid, Lost, Retryable
from modelgarden.kube.resources import Key, Resource
from modelgarden.runtime.metrics import Metrics
from modelgarden.runtime.queue import WorkQueue

log = logging.getLogger(__name__)

RECONCILE_SECONDS: Final = 120.0
"""Longest reconcile. Every call in it has a shorter limit of its own; this one frees the worker for certain."""

TELLING_FAILURES: Final = 3
"""What passes fails once or twice; the third time in a row is told, once."""


async def work(queue: WorkQueue, reconcilers: Mapping[Resource, Reconciler], metrics: Metrics) -> None:
    """Reconcile keys until cancelled.

    Raises:
        Lost: this process may no longer act.
    """
    while True:
        key = await queue.get()
        started = time.monotonic()
        try:
            async with asyncio.timeout(RECONCILE_SECONDS):
                requeue_after = await reconcilers[key.resource].reconcile(key)
        except Lost:
            raise
        except Exception as error:  # noqa: BLE001 -- one bad key must not stop the others
            _retry(queue, key, error, metrics)
        else:
            queue.done(key, requeue_after)
        finally:
            metrics.reconciled(key.resource, time.monotonic() - started)


def _retry(queue: WorkQueue, key: Key, error: Exception, metrics: Metrics) -> None:
    after = error.after if isinstance(error, Retryable) else None
    seconds = queue.retry(key, after=after)
    fields = {"kind": key.resource.kind, "namespace": key.namespace, "object": key.name}
    metrics.failed(key.resource, error.reason if isinstance(error, Invalid) else type(error).__name__)
    match error:
        case Retryable():
            level = logging.WARNING if queue.failures(key) == TELLING_FAILURES else logging.DEBUG
            log.log(level, "Trying again in %.0f s: %s", seconds, error.message, extra=fields)
        case Invalid():
            log.error("The API server refused a request: %s", error.message, extra=fields)
        case TimeoutError():
            log.error("Reconcile took longer than %.0f s", RECONCILE_SECONDS, extra=fields)
        case _:
            log.error("Reconcile failed", exc_info=error, extra=fields)

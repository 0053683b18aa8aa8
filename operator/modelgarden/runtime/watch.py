"""kopf as a watcher: it hands every event of the watched resources to the sink.

No peering, finalizers, annotations, posting or scanning: kopf writes nothing. Its requests are retried without end
through refused connections, 403, 429 and 5xx. What ends its watches nevertheless (HTTP 410 or 404 as an answer, an
ERROR event other than 410) becomes `WatchEnded`, and the caller starts watches, cache and queue anew.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, cast

import kopf

from modelgarden.api.names import FIELD_MANAGER
from modelgarden.kube.client import PAGE_SIZE, Connection
from modelgarden.kube.resources import CHILDREN, MANAGED_SELECTOR, OWNERS, Resource
from modelgarden.runtime.sink import Sink

LONGEST_BACKOFF_SECONDS: Final = 15.0
LONGEST_END_SECONDS: Final = 5.0
"""Time that kopf has for ending its watches, and again for being cancelled."""


class WatchEnded(Exception):  # noqa: N818 -- what happened, as kopf told it
    """kopf gave its watches up."""


class Endless:
    """Back-off without an end: 1 s doubling to 15 s, of which up to half is taken off at random.

    kopf iterates it anew for each request; having no length, it says that there is no last attempt.
    """

    def __iter__(self) -> Iterator[float]:
        wait = 1.0
        while True:
            yield wait * (0.5 + 0.5 * random.random())  # noqa: S311 -- jitter
            wait = min(wait * 2, LONGEST_BACKOFF_SECONDS)


class _NoProgress(kopf.ProgressStorage):
    """Keep no progress of handlers: `on.event` has none."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


class _NoDiff(kopf.DiffBaseStorage):
    """Keep no last seen state, and spare the deep copies that comparing with it takes for each event."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


async def watch(
    sink: Sink,
    connection: Callable[[], Awaitable[Connection]],
    *,
    namespaces: tuple[str, ...],
    on_started: Callable[[], None],
) -> None:
    """Feed the sink until cancelled; `on_started` is called once kopf has set the process's signal handlers.

    Raises:
        WatchEnded: kopf gave up.
    """
    others = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=_registry(sink, connection),
        settings=_settings(),
        standalone=True,
        # Unused without peering, but kopf else asks for the name of the user, which a container's user has not.
        identity=cast(Any, FIELD_MANAGER),
        clusterwide=not namespaces,
        namespaces=namespaces,
    )
    on_started()
    # kopf cancels every task in the loop that it has not been told of, once it ends.
    running = asyncio.create_task(kopf.run_tasks(tasks, ignored=others), name="kopf")
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        # It ends with the first of its tasks, but would wait for ever for a stream that missed its cancellation.
        await asyncio.wait({running}, timeout=LONGEST_END_SECONDS)
    finally:
        running.cancel()
        await asyncio.wait({running}, timeout=LONGEST_END_SECONDS)
    raise WatchEnded(_why(running))


def _why(running: asyncio.Task[None]) -> str:
    if not running.done() or running.cancelled():
        return "kopf did not come to its end"
    error = running.exception()
    return "kopf ended without an error" if error is None else f"{type(error).__name__}: {error}"


def _registry(sink: Sink, connection: Callable[[], Awaitable[Connection]]) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        found = await connection()
        scheme, _space, token = (found.authorization or "").partition(" ")
        return kopf.ConnectionInfo(
            server=found.server,
            ca_path=found.ca_path,
            certificate_path=found.certificate_path,
            private_key_path=found.key_path,
            insecure=not found.verify,
            scheme=scheme or None,
            token=token or None,
        )

    for resource in (*OWNERS, *CHILDREN):
        _on_event(registry, resource, sink)
    return registry


def _on_event(registry: kopf.OperatorRegistry, resource: Resource, sink: Sink) -> None:
    @kopf.on.event(resource.group, resource.version, resource.plural, registry=registry, id=resource.plural)
    async def take(event: kopf.RawEvent, **_: Any) -> None:
        sink.take(resource, event["type"], event["object"])


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.persistence.progress_storage = _NoProgress()
    settings.persistence.diffbase_storage = _NoDiff()
    settings.queueing.worker_limit = None  # kopf#1243 and starvation: our own queue bounds the work
    settings.queueing.idle_timeout = 1.0
    settings.queueing.exit_timeout = 0.5
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = Endless()
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 10
    settings.watching.chunk_size = PAGE_SIZE
    settings.process.ultimate_exiting_timeout = None  # __main__ ends the process
    for resource in CHILDREN:
        settings.watching.label_selectors[resource.group, resource.version, resource.plural] = (
            MANAGED_SELECTOR
        )
    return settings

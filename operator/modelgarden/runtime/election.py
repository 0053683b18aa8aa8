"""The leadership of this process, on an event loop and a connection of its own.

Work that keeps the operator's loop busy, or an API server that is slow with it, is thus no reason to give the Lease up: on
an overloaded machine a restart would cost more time than it was late. A loop that is stuck fails the health check.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from modelgarden.kube.client import Kube, Observer
from modelgarden.runtime.beside import Beside, beside
from modelgarden.runtime.leader import Leadership
from modelgarden.settings import Settings


class Leader:
    """A leadership on an event loop of its own."""

    def __init__(self, leadership: Leadership, loop: Beside) -> None:
        self._leadership = leadership
        self._loop = loop

    def held(self) -> bool:
        """Tell whether this process may act."""
        return self._leadership.held()

    async def acquire(self) -> None:
        """Wait until the Lease is ours."""
        await self._loop.run(self._leadership.acquire())

    async def keep(self) -> None:
        """Renew the Lease until cancelled.

        Raises:
            Lost: it could not be renewed in time, or another process has it.
        """
        await self._loop.run(self._leadership.keep())

    async def release(self) -> None:
        """Give the Lease up."""
        await self._loop.run(self._leadership.release())


@asynccontextmanager
async def elected(settings: Settings, observer: Observer) -> AsyncIterator[Leader | None]:
    """Yield this process's claim on the Lease that the settings name; None where they want no Lease.

    Raises:
        Lost: there are no credentials for the API server.
    """
    if not settings.leader_election:
        yield None
        return
    async with beside("lease") as loop:
        kube = await loop.run(Kube.connect(observer=observer))
        leadership = Leadership(
            kube,
            namespace=settings.lease_namespace,
            name=settings.lease_name,
            identity=settings.lease_identity,
        )
        try:
            yield Leader(leadership, loop)
        finally:
            await loop.run(kube.close())

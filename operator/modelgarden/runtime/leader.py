"""Leadership by a Lease: one replica works, the next waits hot.

Times are client-go's defaults: a Lease of 15 s, given up after 10 s without renewal, tried every 2 s. The client's
own `leaderelection` is not used because it ends on a refused connection, waits on a hanging request for minutes while
it believes to lead, never releases, and writes local time as UTC.

While it is held, one request renews it: what was last seen is written anew, and only where somebody changed it since
is it read first.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from modelgarden.kube.client import Kube
from modelgarden.kube.errors import Invalid, Lost, Retryable
from modelgarden.kube.resources import LEASES

log = logging.getLogger(__name__)

LEASE_SECONDS: Final = 15
RENEW_DEADLINE_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 2.0
_REQUEST_SECONDS: Final = 5.0


class Leadership:
    """This process's claim on the Lease."""

    def __init__(
        self,
        kube: Kube,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._live: dict[str, Any] | None = None
        """The Lease as it was last seen."""
        self._seen_at = 0.0
        self._until = float("-inf")

    def held(self) -> bool:
        """Tell whether this process may act: it renewed the Lease within the deadline."""
        return self._clock() < self._until

    async def acquire(self) -> None:
        """Wait until the Lease is ours, through any outage of the API server."""
        log.info("Waiting for the Lease %s/%s", self._namespace, self._name)
        while True:
            if await self._attempt():
                break
            await asyncio.sleep(RETRY_SECONDS * (0.8 + 0.2 * random.random()))  # noqa: S311 -- jitter
        log.info("Holding the Lease as %s", self._identity)

    async def keep(self) -> None:
        """Renew the Lease until cancelled.

        Raises:
            Lost: it could not be renewed in time, or another process has it.
        """
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            renewed = await self._attempt()
            if not renewed and self._holder() not in (None, self._identity):
                raise Lost(f"The Lease is held by {self._holder()}.")
            if not self.held():
                raise Lost(f"The Lease was not renewed within {RENEW_DEADLINE_SECONDS:.0f} s.")

    async def release(self) -> None:
        """Give the Lease up so that another replica needs not wait for its end; try once."""
        if not self.held():
            return
        self._until = float("-inf")
        try:
            async with asyncio.timeout(RETRY_SECONDS):
                lease = await self._kube.get(LEASES, self._namespace, self._name)
                if lease is not None and lease["spec"].get("holderIdentity") == self._identity:
                    spec = {name: lease["spec"][name] for name in ("acquireTime", "leaseTransitions")}
                    spec |= {"renewTime": _now(), "leaseDurationSeconds": 1}
                    await self._kube.replace({**lease, "spec": spec})
                    log.info("Released the Lease")
        except (Retryable, Invalid, TimeoutError) as error:
            log.warning("The Lease was not released and ends by itself: %s", error)

    async def _attempt(self) -> bool:
        """Take or renew the Lease; tell whether that went through."""
        started = self._clock()
        limit = min(_REQUEST_SECONDS, self._until - started) if self.held() else _REQUEST_SECONDS
        try:
            async with asyncio.timeout(limit):
                written = await self._write()
        except TimeoutError:
            written = False
        except (Retryable, Invalid) as error:
            log.debug("Lease not written: %s", error)
            written = False
            if isinstance(error, Invalid):
                log.error("The Lease cannot be written; check the operator's Role: %s", error.message)
        if written:
            # Counted from before the request: others may count from any moment after it.
            self._until = started + RENEW_DEADLINE_SECONDS
        return written

    async def _write(self) -> bool:
        if self.held() and await self._renewed():
            return True
        lease = await self._kube.get(LEASES, self._namespace, self._name)
        if lease is None:
            self._see(await self._kube.create(self._lease(self._spec({}))))
            return True
        self._see(lease)
        if not self._free():
            return False
        await self._replace(lease)
        return True

    async def _renewed(self) -> bool:
        """Renew the Lease as it was last seen, without asking for it first; False where somebody changed it since."""
        if self._live is None or self._holder() != self._identity:
            return False
        try:
            await self._replace(self._live)
        except Retryable:
            self._live = None
        return self._live is not None

    async def _replace(self, lease: dict[str, Any]) -> None:
        self._see(await self._kube.replace({**lease, "spec": self._spec(lease["spec"])}))

    def _see(self, lease: dict[str, Any]) -> None:
        # Another's clock may be wrong: its Lease ends when its record has not changed for so long by ours.
        if self._live is None or self._live["spec"] != lease["spec"]:
            self._seen_at = self._clock()
        self._live = lease

    def _holder(self) -> str | None:
        return self._seen.get("holderIdentity") or None

    @property
    def _seen(self) -> dict[str, Any]:
        spec: dict[str, Any] = self._live["spec"] if self._live is not None else {}
        return spec

    def _free(self) -> bool:
        if self._holder() in (None, self._identity):
            return True
        duration = self._seen.get("leaseDurationSeconds", LEASE_SECONDS)
        return self._clock() >= self._seen_at + float(duration)

    def _spec(self, before: dict[str, Any]) -> dict[str, Any]:
        kept = before.get("holderIdentity") == self._identity
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": before["acquireTime"] if kept else _now(),
            "renewTime": _now(),
            "leaseTransitions": before.get("leaseTransitions", 0) + (0 if kept or not before else 1),
        }

    def _lease(self, spec: dict[str, Any]) -> dict[str, Any]:
        metadata = {"namespace": self._namespace, "name": self._name}
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

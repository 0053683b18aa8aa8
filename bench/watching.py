"""Many objects made at once, and the watch that sees when all of them are where they should be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp

from modelgarden.kube.client import Kube, path_of
from modelgarden.kube.resources import Resource
from tests.integration.harness.api import Obj

CREATORS = 16
PATIENCE_SECONDS = 600.0


class Seen:
    """Names of objects that fit a condition, gathered from a watch."""

    def __init__(self, fits: Callable[[Obj], bool]) -> None:
        self._fits = fits
        self.names: set[str] = set()
        self._changed = asyncio.Event()

    def take(self, event: Obj) -> None:
        """Take one event."""
        if event["type"] in ("ADDED", "MODIFIED") and self._fits(event["object"]):
            self.names.add(event["object"]["metadata"]["name"])
            self._changed.set()

    async def reach(self, count: int) -> None:
        """Wait until so many were seen.

        Raises:
            TimeoutError: they were not.
        """
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(self.names) < count:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"{len(self.names)} of {count} were seen") from None


@asynccontextmanager
async def watched(
    kube: Kube, resource: Resource, namespace: str, fits: Callable[[Obj], bool], selector: str = ""
) -> AsyncIterator[Seen]:
    """Gather from a watch of one namespace."""
    seen = Seen(fits)
    task = asyncio.create_task(_follow(kube, path_of(resource, namespace), selector, seen))
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _follow(kube: Kube, path: str, selector: str, seen: Seen) -> None:
    connection = await kube.connection()
    query = {"watch": "true", "resourceVersion": "0", **({"labelSelector": selector} if selector else {})}
    headers = {"Authorization": connection.authorization or ""}
    async with aiohttp.ClientSession(headers=headers, read_bufsize=2**22) as session:
        while True:  # a reader that is too slow is cut off, and begins anew with what there is
            async with session.get(
                connection.server + path,
                params=query,
                ssl=False,
                timeout=aiohttp.ClientTimeout(total=None),
            ) as answer:
                buffer = b""
                async for chunk in answer.content.iter_any():
                    *lines, buffer = (buffer + chunk).split(b"\n")
                    for line in lines:
                        seen.take(json.loads(line))


async def create_all(kube: Kube, manifests: list[Obj]) -> None:
    """Create objects, some at a time."""
    left = iter(manifests)

    async def create() -> None:
        for manifest in left:
            await kube.create(manifest)

    await asyncio.gather(*(create() for _ in range(CREATORS)))

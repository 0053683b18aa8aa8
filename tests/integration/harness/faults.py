"""A reverse proxy before the real API server that makes it misbehave: refused requests, broken or thinned watches."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from hack.cluster import probes

Event = dict[str, Any]
DROPPED_HEADERS = frozenset({"transfer-encoding", "content-length", "content-encoding", "connection", "host"})


@dataclass
class Faults:
    """What goes wrong at the moment; a test may change it at any time."""

    refuse: Callable[[web.Request], int | None] = lambda _: None
    """Returns the HTTP status to answer a request with, or None to let it through."""
    change: Callable[[Event], Event | None] = lambda event: event
    """Returns a watch event as it shall arrive, or None to swallow it."""
    refused: int = 0
    """Requests that were refused so far."""
    changed: int = 0
    """Watch events that were changed or swallowed so far."""
    kubeconfig: Path = field(default_factory=Path)
    """Leads to the proxy."""


def watches(request: web.Request, plural: str) -> bool:
    """Tell whether a request watches a resource."""
    return request.query.get("watch") == "true" and request.path.endswith(f"/{plural}")


@contextmanager
def faulty_api(kubeconfig: Path, folder: Path) -> Iterator[Faults]:
    """Serve the API server of a kubeconfig through a proxy with faults."""
    original = json.loads(kubeconfig.read_text())
    port = probes.free_ports(1)[0]
    faults = Faults(kubeconfig=folder / "faulty-kubeconfig")
    proxied = json.loads(json.dumps(original))
    proxied["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{port}"}
    faults.kubeconfig.write_text(json.dumps(proxied))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    proxy = _Proxy(original["clusters"][0]["cluster"], faults)
    asyncio.run_coroutine_threadsafe(proxy.start(port), loop).result(10)
    try:
        yield faults
    finally:
        asyncio.run_coroutine_threadsafe(proxy.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Proxy:
    def __init__(self, cluster: dict[str, str], faults: Faults) -> None:
        self._server = cluster["server"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=authority)
        self._faults = faults

    async def start(self, port: int) -> None:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=True)
        application = web.Application(client_max_size=16 * 2**20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()

    async def stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        status = self._faults.refuse(request)
        if status is not None:
            self._faults.refused += 1
            body = {"kind": "Status", "apiVersion": "v1", "code": status, "message": "refused by the test"}
            return web.json_response(body, status=status)
        headers = {
            name: value for name, value in request.headers.items() if name.lower() not in DROPPED_HEADERS
        }
        upstream = self._session.request(
            request.method,
            self._server + request.raw_path,
            headers=headers,
            data=await request.read() or None,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        try:
            async with upstream as answer:
                return await self._relay(request, answer)
        except aiohttp.ClientError:
            return web.json_response({"message": "the API server is away"}, status=503)

    async def _relay(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in DROPPED_HEADERS}
        if request.query.get("watch") != "true":
            return web.Response(status=answer.status, headers=kept, body=await answer.read())
        stream = web.StreamResponse(status=answer.status, headers=kept)
        await stream.prepare(request)
        async for line in _lines(answer):
            event = json.loads(line)
            change = self._faults.change(event)
            self._faults.changed += change != event
            if change is not None:
                await stream.write(json.dumps(change).encode() + b"\n")
        return stream


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    buffer = b""
    async for chunk in answer.content.iter_any():
        *complete, buffer = (buffer + chunk).split(b"\n")
        for line in complete:
            yield line

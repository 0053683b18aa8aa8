"""The HTTP endpoints: /healthz and /readyz for the kubelet, /metrics for Prometheus.

They are served by the loop that does the work, so that a blocked loop does not answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from modelgarden.runtime.health import Vitals
from modelgarden.runtime.metrics import Metrics

Handler = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def endpoints(
    vitals: Vitals, metrics: Metrics, *, health_port: int, metrics_port: int
) -> AsyncIterator[None]:
    """Serve the endpoints on all addresses."""

    async def healthz(_: web.Request) -> web.Response:
        found = vitals.ailments()
        return web.Response(status=500 if found else 200, text="; ".join(found) or "ok")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(status=200 if vitals.ready else 503, text="ok" if vitals.ready else "starting")

    async def metrics_page(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async with (
        _served(health_port, {"/healthz": healthz, "/readyz": readyz}),
        _served(metrics_port, {"/metrics": metrics_page}),
    ):
        yield


@asynccontextmanager
async def _served(port: int, routes: dict[str, Handler]) -> AsyncIterator[None]:
    application = web.Application()
    application.add_routes([web.get(path, handler) for path, handler in routes.items()])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host=None, port=port).start()
        yield
    finally:
        await runner.cleanup()

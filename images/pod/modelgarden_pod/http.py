"""The HTTP endpoints of a pod: a report as JSON, /readyz, and /metrics in Prometheus' text format."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel

from modelgarden_pod.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """Status, content type and body of an answer."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200
    sent: Callable[[], None] | None = None
    """What follows once it was sent whole."""


Route = Callable[[], Answer]


def json_route(report: Callable[[], BaseModel]) -> Route:
    """Answer with a model of the API as JSON."""
    return lambda: Answer(
        report().model_dump_json(by_alias=True, exclude_none=True).encode(), "application/json"
    )


def metrics_route(registry: CollectorRegistry) -> Route:
    """Answer with the metrics of a registry."""
    return lambda: Answer(generate_latest(registry), CONTENT_TYPE_LATEST)


def ready_route(ready: Callable[[], bool]) -> Route:
    """Answer 200 while ready, else 503."""
    return lambda: Answer(b"ok\n") if ready() else Answer(b"not ready\n", status=503)


class _Server(ThreadingHTTPServer):
    """Listens for IPv6 and IPv4 where no address is given, as a pod may have either alone."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._both = address[0] == "" and socket.has_dualstack_ipv6()
        if self._both:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    def server_bind(self) -> None:
        if self._both:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what went wrong in an answer, but for a client that hung up, which is its own affair."""
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            logger.error("Answer failed", exc_info=error)


def serve_routes(routes: Mapping[str, Route], *, port: int, host: str = "") -> ThreadingHTTPServer:
    """Serve GET on the paths from threads of its own; `server_address` has the port where 0 was asked for.

    Raises:
        UserError: the port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            route = routes.get(self.path.partition("?")[0])
            answer = _answer(route) if route else Answer(b"not found\n", status=404)
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)
            if answer.sent is not None:
                answer.sent()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- overridden as it is
            """Probes and scrapes are not logged."""

    try:
        server = _Server((host, port), Handler)
    except OSError as error:
        raise UserError(
            "InvalidConfiguration",
            f"port {port} cannot be served: {error.strerror}; choose another with --port",
        ) from error
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return server


def _answer(route: Route) -> Answer:
    try:
        return route()
    except Exception as error:
        logger.exception("Request failed")
        return Answer(f"{type(error).__name__}\n".encode(), status=500)

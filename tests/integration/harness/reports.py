"""What pods serve on the progress port, answered by the test on an address of the loopback network."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from modelgarden.api.names import PROGRESS_PORT


class PodReport:
    """The pages of one pod; a test may change them at any time."""

    def __init__(self, address: str, pages: Mapping[str, Any]) -> None:
        self.address = address
        self.pages = dict(pages)
        self.requests = 0


@contextmanager
def pod_report(address: str, **pages: Any) -> Iterator[PodReport]:
    """Serve JSON pages, such as progress={...} at /progress, on 127.0.0.0/8."""
    report = PodReport(address, {f"/{name}": page for name, page in pages.items()})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            report.requests += 1
            page = report.pages.get(self.path)
            body = json.dumps(page).encode()
            self.send_response(404 if page is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer((address, PROGRESS_PORT), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield report
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""vLLM's HTTP server without its engine: uvicorn with a middleware, and an end that goes as vLLM's does.

python draining_vllm.py PORT MIDDLEWARE

From SIGTERM on its pool of threads takes no more work, so that a request fails with a 500; the server itself takes
requests until those under way have ended (vllm/entrypoints/launchers/launcher.py of 0.32). POST /v1/completions answers
after the seconds in its body.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import uvicorn

PAGES = {
    "/health": b"{}",
    "/metrics": b"",
    "/v1/models": b'{"data": [{"id": "bot"}]}',
}
pool = ThreadPoolExecutor(max_workers=64)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer a request."""
    assert scope["type"] == "http"
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    try:
        status, answer = 200, PAGES[scope["path"]] if scope["path"] in PAGES else await _completed(body)
    except RuntimeError as error:
        status, answer = 500, str(error).encode()
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def _completed(body: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(pool, partial(time.sleep, float(json.loads(body)["seconds"])))
    return await loop.run_in_executor(pool, lambda: b'{"choices": []}')


class Server(uvicorn.Server):
    """Leaves signals to `main`, as vLLM's does."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def main(port: int, middleware: str) -> None:
    """Serve until SIGTERM, and then until no work is left."""
    module, _, name = middleware.rpartition(".")
    closed = getattr(importlib.import_module(module), name)(app)
    config = uvicorn.Config(closed, host="127.0.0.1", port=port, lifespan="off", log_level="warning")
    server = Server(config)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    serving = asyncio.create_task(server.serve())
    await stop.wait()
    await asyncio.to_thread(pool.shutdown)
    server.should_exit = True
    await serving


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))

"""How vLLM's HTTP server is drained: what its supervisor asks for, and the middleware in vLLM's process that does it.

vLLM takes requests until the last of those under way has ended, although it refuses them from SIGTERM on with a 500. So
they are kept from it here. First the pod leaves: every answer closes its connection, so that a client that keeps one
sends its next request elsewhere. Once no Service leads here any more it refuses: what still comes gets a 503, and vLLM
ends when nothing is under way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Final

MIDDLEWARE: Final = f"{__name__}.DrainMiddleware"
"""What vLLM is given as --middleware."""
FOLDER_VARIABLE: Final = "MODELGARDEN_DRAIN_FOLDER"
UNDER_WAY_PATH: Final = "/modelgarden/under-way"
"""Answers with the number of requests under way, as JSON."""

_OWN_PATHS: Final = frozenset({"/health", "/metrics"})
"""What probes and meters ask until the end; no work of the engine."""
_CLOSE: Final = (b"connection", b"close")
_REFUSAL: Final = json.dumps(
    {
        "error": {
            "message": "This replica is shutting down. Send the request again; another one answers.",
            "type": "ServiceUnavailableError",
            "param": None,
            "code": 503,
        }
    }
).encode()

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Drain:
    """How far the drain is, as the name of a file in a folder: vLLM's process looks for it at every request.

    The file is renamed from stage to stage, for which a disk that is full has room.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._serving, self._leaving, self._refusing = (
            folder / stage for stage in ("serving", "leaving", "refusing")
        )

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment variables by which the middleware finds the folder."""
        return {FOLDER_VARIABLE: str(self._folder)}

    def prepare(self) -> None:
        """Forget what an earlier container of this pod left: nothing is drained yet."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for later in (self._leaving, self._refusing):
            later.unlink(missing_ok=True)
        self._serving.touch()

    def leave(self) -> None:
        """Have every answer close its connection from now on."""
        self._serving.rename(self._leaving)

    def refuse(self) -> None:
        """Have every new request refused from now on."""
        self._leaving.rename(self._refusing)

    @property
    def leaves(self) -> bool:
        """Answers close their connection."""
        return self._leaving.exists() or self.refuses

    @property
    def refuses(self) -> bool:
        """New requests are refused."""
        return self._refusing.exists()


class DrainMiddleware:
    """Counts the requests under way in an ASGI server, and closes it to others as its supervisor says."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._drain = Drain(Path(os.environ[FOLDER_VARIABLE]))
        self._under_way = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request, or have the server do it."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or path in _OWN_PATHS:
            await self._app(scope, receive, send)
        elif path == UNDER_WAY_PATH:
            await _answer(send, 200, json.dumps(self._under_way).encode())
        elif self._drain.refuses:
            await _read_all(receive)
            await _answer(send, 503, _REFUSAL, (b"retry-after", b"1"), _CLOSE)
        else:
            self._under_way += 1
            try:
                await self._app(scope, receive, self._closing(send))
            finally:
                self._under_way -= 1

    def _closing(self, send: Send) -> Send:
        """Return a way to answer that ends the connection where the pod leaves by then."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start" and self._drain.leaves:
                message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
            await send(message)

        return sent


async def _answer(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})


async def _read_all(receive: Receive) -> None:
    """Read a request to its end: a connection that is closed before would be reset, and the answer with it lost."""
    while True:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            return

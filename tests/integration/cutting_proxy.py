"""A TCP proxy before the S3 server whose connections break: cut in the middle, refused, or stalled."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlparse

CHUNK = 64 * 1024


class CuttingProxy:
    """What goes wrong at the moment; a test may change it at any time."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self.cut_after: int | None = None
        """Bytes of answers after which a connection is cut."""
        self.cut_every = 1
        """Only each so many-th connection is cut."""
        self.away = False
        """New connections are closed at once."""
        self.stall_after: int | None = None
        """Bytes of answers in all after which nothing arrives any more."""
        self.sent = 0
        """Bytes of answers that arrived."""
        self.cuts = 0
        """Connections that were cut or refused."""
        self._connections = 0

    @property
    def endpoint(self) -> str:
        """The URL that leads through the proxy."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def run(self) -> None:
        """Accept connections until the listener is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Stop accepting."""
        self._listener.close()

    def _connect(self, client: socket.socket) -> None:
        if self.away:
            with self._lock:
                self.cuts += 1
            client.close()
            return
        with self._lock:
            self._connections += 1
            cut = self.cut_after if self._connections % self.cut_every == 0 else None
        server = socket.create_connection(self._target)
        threading.Thread(target=_pump, args=(client, server), daemon=True).start()
        self._answer(server, client, cut)

    def _answer(self, server: socket.socket, client: socket.socket, cut: int | None) -> None:
        sent = 0
        with suppress(OSError):
            while data := server.recv(CHUNK):
                if self.away or (cut is not None and sent + len(data) > cut):
                    with self._lock:
                        self.cuts += 1
                    break
                while self.stall_after is not None and self.sent >= self.stall_after:
                    threading.Event().wait(0.05)
                client.sendall(data)
                sent += len(data)
                with self._lock:
                    self.sent += len(data)
        _end(client)
        _end(server)


def _end(connection: socket.socket) -> None:
    """Close for good: a thread that still reads would keep the connection open otherwise."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def cutting_proxy(endpoint: str) -> Iterator[CuttingProxy]:
    """Serve the S3 server at the endpoint through a proxy."""
    parsed = urlparse(endpoint)
    assert parsed.hostname is not None
    assert parsed.port is not None
    proxy = CuttingProxy((parsed.hostname, parsed.port))
    threading.Thread(target=proxy.run, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.close()

"""Readiness probes of the cluster's programs, over HTTP and sockets of this machine."""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.error
import urllib.request
from pathlib import Path

TIMEOUT_SECONDS = 2.0
_insecure = ssl.create_default_context()
_insecure.check_hostname = False  # loopback only: a probe asks whether it lives, not who it is
_insecure.verify_mode = ssl.CERT_NONE
_opener = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=_insecure)
)


def http_ok(url: str, token: str | None = None) -> bool:
    """Tell whether `url` answers with 200."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with _opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):
        return False


def accepts_unix(path: Path) -> bool:
    """Tell whether something listens on the Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT_SECONDS)
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """Return ports that nothing listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((address, 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()

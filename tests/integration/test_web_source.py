"""An https:// source against a real TLS server: what is fetched, and what no server can lead it to."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.integration.trainer_process import SOURCES, trainer_python

PROBE = Path(__file__).with_name("web_probe.py")
ROWS = '{"prompt": "a", "completion": "b"}\n'
SUBJECT = ("-subj", "/CN=test", "-addext", "subjectAltName=DNS:data.example.org,DNS:cdn.example.org")


@dataclass
class Site:
    """A TLS server, and what it answers: a status with a body or a place to go to."""

    port: int
    authorities: Path
    pages: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Host and path of each request."""
    failures: int = 0
    """Answers of 503 still to come."""

    def uri(self, path: str, *, host: str = "data.example.org") -> str:
        """Return the URI of a page."""
        return f"https://{host}:{self.port}{path}"


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name that the base class gives it
        """Keep quiet."""

    def do_GET(self) -> None:
        self.site.asked.append((self.headers["Host"].partition(":")[0], self.path))
        status, text = self.site.pages.get(self.path, (404, ""))
        if self.site.failures:
            self.site.failures -= 1
            status, text = 503, ""
        body = b"" if 300 <= status < 400 else text.encode()
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("certificate")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-keyout", key, "-out", certificate, *SUBJECT],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@pytest.fixture
def site(certificate: tuple[Path, Path]) -> Iterator[Site]:
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    handler.site = Site(port=server.server_address[1], authorities=certificate[0])  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield handler.site  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


Fetch = Callable[..., dict[str, str]]


@pytest.fixture
def fetch(site: Site, tmp_path: Path) -> Fetch:
    def run(uri: str, *, largest: int = 1_000_000) -> dict[str, str]:
        # A proxy of the environment, or the machine's own credentials, would be used by a client that looked for them.
        environ = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, SOURCES)),
            "HTTPS_PROXY": "http://127.0.0.1:1",
            "ALL_PROXY": "http://127.0.0.1:1",
        }
        ended = subprocess.run(
            [trainer_python(), PROBE, uri, tmp_path / "here", site.authorities, str(largest)],
            env=environ, check=True, capture_output=True, text=True,
        )  # fmt: skip
        told: dict[str, str] = json.loads(ended.stdout)
        return told

    return run


def test_a_file_comes_by_way_of_allowed_redirects(site: Site, fetch: Fetch) -> None:
    site.pages = {
        "/rows.jsonl": (302, "/moved.jsonl"),
        "/moved.jsonl": (307, site.uri("/signed?key=1", host="cdn.example.org")),
        "/signed?key=1": (200, ROWS),
    }
    site.failures = 2

    told = fetch(site.uri("/rows.jsonl"))

    assert told == {"name": site.uri("/rows.jsonl"), "content": ROWS}
    assert site.asked[2:] == [
        ("data.example.org", "/rows.jsonl"),
        ("data.example.org", "/moved.jsonl"),
        ("cdn.example.org", "/signed?key=1"),
    ]


@pytest.mark.parametrize(
    ("page", "reason", "message"),
    [
        ((302, "https://other.example.org:{port}/x"), "AccessDenied", "leads to other.example.org, which is none of"),
        ((302, "http://data.example.org:{port}/x"), "AccessDenied", "not of the form https://host/path"),
        ((302, "https://me:secret@data.example.org:{port}/x"), "AccessDenied", "not of the form https://host/path"),
        ((302, "https://127.0.0.1:{port}/x"), "AccessDenied", "127.0.0.1 is an address of a private network"),
        ((302, "file:///etc/passwd"), "AccessDenied", "not of the form https://host/path"),
        ((302, "/rows.jsonl"), "DatasetInvalid", "is redirected more than 5 times"),
        ((404, ""), "DatasetNotFound", "is not there (404); correct the source"),
        ((403, ""), "AccessDenied", "is not for everybody (403)"),
        ((204, ""), "DatasetInvalid", "answers 204"),
        ((200, "x" * 2000), "DatasetInvalid", "is larger than"),
    ],
)  # fmt: skip
def test_what_a_server_may_not_do_is_told(
    site: Site, fetch: Fetch, page: tuple[int, str], reason: str, message: str
) -> None:
    site.pages = {"/rows.jsonl": (page[0], page[1].format(port=site.port)), "/x": (200, ROWS)}

    told = fetch(site.uri("/rows.jsonl"), largest=1000)

    assert told["reason"] == reason
    assert message in told["message"]
    assert "secret" not in told["message"]
    assert not any(path == "/x" for _, path in site.asked)


def test_a_certificate_of_another_name_is_refused(site: Site, fetch: Fetch, tmp_path: Path) -> None:
    other = site.authorities.with_name("other.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-keyout", tmp_path / "key.pem", "-out", other, "-subj", "/CN=other"],
        check=True, capture_output=True,
    )  # fmt: skip
    site.pages = {"/rows.jsonl": (200, ROWS)}
    site.authorities = other

    told = fetch(site.uri("/rows.jsonl"))

    assert told["reason"] == "AccessDenied"
    assert "has no certificate that is trusted" in told["message"]
    assert site.asked == []

"""The endpoints of a pod."""

from __future__ import annotations

import json
import logging
import socket
import struct
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import ThreadingHTTPServer

import pytest
from prometheus_client import CollectorRegistry, Gauge

from modelgarden.api.emissions import Energy
from modelgarden_pod.errors import UserError
from modelgarden_pod.http import Answer, json_route, metrics_route, ready_route, serve_routes


def get(port: int, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def broken() -> Answer:
    raise RuntimeError("secret detail")


def serve(**routes: Callable[[], Answer]) -> int:
    server = serve_routes({f"/{name}": route for name, route in routes.items()}, port=0, host="127.0.0.1")
    return int(server.server_address[1])


def test_a_report_is_json_with_the_names_of_the_wire() -> None:
    port = serve(progress=json_route(lambda: Energy.of(cpu=2)))

    assert json.loads(get(port, "/progress?x=1")[1]) == {"gpu": 0, "cpu": 2, "ram": 0, "total": 2}


def test_metrics_are_read_when_they_are_scraped() -> None:
    registry = CollectorRegistry()
    gauge = Gauge("steps", "Steps.", registry=registry)
    port = serve(metrics=metrics_route(registry))
    gauge.set(7)

    assert b"\nsteps 7.0\n" in get(port, "/metrics")[1]


@pytest.mark.parametrize(("ready", "want_status"), [(True, 200), (False, 503)])
def test_readiness_is_told_by_the_status(ready: bool, want_status: int) -> None:
    port = serve(readyz=ready_route(lambda: ready))

    assert get(port, "/readyz")[0] == want_status


def test_a_failing_route_is_a_500_without_details_and_an_unknown_one_a_404() -> None:
    port = serve(broken=broken)

    assert get(port, "/broken") == (500, b"RuntimeError\n")
    assert get(port, "/other")[0] == 404


def test_what_follows_an_answer_waits_until_it_was_sent() -> None:
    sent = threading.Event()
    body = b"x" * 2**26  # more than the sockets hold
    port = serve(report=lambda: Answer(body, sent=sent.set))

    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET /report HTTP/1.0\r\n\r\n")
        connection.recv(64)
        assert not sent.is_set()
        while connection.recv(2**20):
            pass
    assert sent.wait(5)


def test_a_client_that_hangs_up_leaves_no_traceback(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = threading.Event()
    body = b"x" * 2**26  # more than the sockets hold
    server = serve_routes({"/progress": lambda: Answer(body, sent=sent.set)}, port=0, host="127.0.0.1")
    ended = told_when_ended(server, monkeypatch)

    with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=5) as connection:
        connection.sendall(b"GET /progress HTTP/1.0\r\n\r\n")
        connection.recv(64)
        hang_up_with_a_reset(connection)

    assert ended.wait(5)
    assert not sent.is_set()
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_a_client_that_resets_before_it_asked_leaves_no_traceback(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve_routes({}, port=0, host="127.0.0.1")
    ended = told_when_ended(server, monkeypatch)

    with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=5) as connection:
        connection.sendall(b"GET /prog")
        hang_up_with_a_reset(connection)

    assert ended.wait(5)
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_a_mistake_of_ours_while_answering_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken() -> None:
        raise RuntimeError("a mistake")

    server = serve_routes({"/progress": lambda: Answer(b"", sent=mistaken)}, port=0, host="127.0.0.1")
    ended = told_when_ended(server, monkeypatch)

    assert get(int(server.server_address[1]), "/progress")[0] == 200
    assert ended.wait(5)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], RuntimeError)
    assert capfd.readouterr() == ("", "")


def told_when_ended(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return what is set once a request was dealt with, however it ended."""
    ended = threading.Event()
    closed = server.shutdown_request

    def told(request: socket.socket) -> None:
        closed(request)
        ended.set()

    monkeypatch.setattr(server, "shutdown_request", told)
    return ended


def hang_up_with_a_reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_a_taken_port_says_what_to_do() -> None:
    port = serve(a=broken)

    with pytest.raises(UserError, match="--port"):
        serve_routes({}, port=port, host="127.0.0.1")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="the kernel has no IPv6")
def test_both_families_of_addresses_are_served_where_none_is_named() -> None:
    server = serve_routes({"/readyz": ready_route(lambda: True)}, port=0)

    for address in ("127.0.0.1", "::1"):
        with socket.create_connection((address, server.server_address[1]), timeout=5) as connection:
            connection.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
            assert connection.recv(64).startswith(b"HTTP/1.0 200")

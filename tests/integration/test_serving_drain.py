"""A serving pod that ends while clients with keep-alive connections ask it: none is cut, and none gets a 500."""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from hack.cluster.probes import free_ports
from modelgarden.api.pods import ServeConfig, TerminationMessage
from modelgarden_pod.errors import Terminated
from modelgarden_serve.draining import MIDDLEWARE, Drain
from modelgarden_serve.ledger import Ledger
from modelgarden_serve.supervise import Supervisor, Timings
from modelgarden_serve.vllm_api import VllmApi
from tests.integration.harness.waiting import wait_for
from tests.unit.serve.test_ledger import Meter

VLLM = Path(__file__).with_name("draining_vllm.py")
QUICK = Timings(propagation=1.0, margin=5.0, farewell=0.1, sample=0.1, poll=0.02)


class Pod:
    """A supervisor with an HTTP server that ends as vLLM's does."""

    def __init__(self, folder: Path, *, timings: Timings = QUICK, drain_seconds: int = 30) -> None:
        (self.port,) = free_ports(1)
        self.api = VllmApi(port=self.port)
        self.drain = Drain(folder / "drain")
        config = ServeConfig(
            model_uri="file:///m", served_model_name="bot", model_dir="/m", drain_seconds=drain_seconds
        )
        ledger = Ledger(Meter(), self.api.tokens, attempt="pod", file=folder / "carbon.json")
        self.supervisor = Supervisor(config, api=self.api, ledger=ledger, drain=self.drain, timings=timings)
        self._connections: list[HTTPConnection] = []
        self._pool = ThreadPoolExecutor(max_workers=32)
        self.running: Future[TerminationMessage] = self._pool.submit(
            self.supervisor.run, [sys.executable, str(VLLM), str(self.port), MIDDLEWARE], os.environ
        )
        wait_for(lambda: self.supervisor.routes()["/readyz"]().status == 200, what="it to be ready")

    def ask(self, *, seconds: float) -> Future[int]:
        """Ask on a connection of its own, in another thread; return the status."""
        return self._pool.submit(lambda: ask(self.connection(), seconds=seconds).status)

    def keep_asking(self) -> Future[list[int]]:
        """Ask again and again until the pod refuses, on a connection for as long as it keeps it; return the statuses."""

        def asked() -> list[int]:
            statuses: list[int] = []
            connection = self.connection()
            while not statuses or statuses[-1] == 200:
                statuses.append(
                    ask(connection, seconds=0.05).status
                )  # it connects anew where it was told to close
            return statuses

        return self._pool.submit(asked)

    def connection(self) -> HTTPConnection:
        """Return a client with a connection that it keeps."""
        self._connections.append(HTTPConnection("127.0.0.1", self.port, timeout=20))
        return self._connections[-1]

    def close(self) -> None:
        """End what runs."""
        self.supervisor.stop()
        self._pool.shutdown()
        for connection in self._connections:
            connection.close()


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    one = Pod(tmp_path)
    yield one
    one.close()


def ask(connection: HTTPConnection, *, seconds: float) -> HTTPResponse:
    """Ask for what takes so long, and read the answer."""
    connection.request("POST", "/v1/completions", json.dumps({"seconds": seconds}))
    answer = connection.getresponse()
    answer.read()
    return answer


def test_no_client_is_cut_and_none_gets_a_500(pod: Pod) -> None:
    clients = [pod.keep_asking() for _ in range(16)]
    long = pod.ask(seconds=4.0)
    wait_for(lambda: (pod.api.under_way() or 0) > 8, what="requests to be under way")

    pod.supervisor.stop()

    for client in clients:
        *answered, last = client.result(30)
        assert len(answered) > 5
        assert set(answered) == {200}
        assert last == 503
    assert long.result(30) == 200, "it was under way"
    assert pod.running.result(30).message.startswith("drained in")


def test_an_answer_closes_its_connection_from_sigterm_on_while_services_still_lead_here(
    tmp_path: Path,
) -> None:
    pod = Pod(tmp_path, timings=replace(QUICK, propagation=3.0))
    connection = pod.connection()
    assert not ask(connection, seconds=0).will_close

    pod.supervisor.stop()
    wait_for(lambda: pod.drain.leaves)

    answer = ask(connection, seconds=0)
    assert (answer.status, answer.will_close) == (200, True)
    assert ask(pod.connection(), seconds=0).status == 200
    pod.close()


def test_what_comes_later_is_refused_with_when_to_come_again(pod: Pod) -> None:
    kept = pod.connection()
    ask(kept, seconds=0)
    long = pod.ask(seconds=4.0)
    wait_for(lambda: pod.api.under_way() == 1)

    pod.supervisor.stop()
    wait_for(lambda: pod.drain.refuses)

    for connection in (kept, pod.connection()):
        connection.request("POST", "/v1/completions", b"x" * 1_000_000)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Retry-After"], answer.will_close) == (503, "1", True)
        assert "another one answers" in json.loads(answer.read())["error"]["message"]
    assert pod.api.healthy(), "probes and meters are answered to the end"
    assert long.result(30) == 200


def test_a_request_that_takes_longer_than_the_drain_is_not_waited_for(tmp_path: Path) -> None:
    pod = Pod(tmp_path, timings=replace(QUICK, margin=0.5), drain_seconds=1)
    long = pod.ask(seconds=60)
    wait_for(lambda: pod.api.under_way() == 1)

    pod.supervisor.stop()

    with pytest.raises(Terminated, match="did not finish its requests and end within"):
        pod.running.result(20)
    with pytest.raises((http.client.HTTPException, OSError)):
        long.result(20)
    pod.close()


def test_a_pod_whose_container_starts_again_answers_again(tmp_path: Path) -> None:
    first = Pod(tmp_path)
    first.close()
    assert first.drain.refuses

    again = Pod(tmp_path)

    assert ask(again.connection(), seconds=0).status == 200
    again.close()

"""The health endpoint fails when the operator does not work."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.integration.conftest import StartOperator
from tests.integration.harness.garden import Garden
from tests.integration.harness.waiting import wait_for


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The URL of a server that takes connections and never answers."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:

        def hold() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=hold, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        for connection in held:
            connection.close()
        thread.join(5)


def test_a_stuck_queue_fails_the_health_check_until_it_moves_again(
    garden: Garden, silent_server: str, start_operator: StartOperator
) -> None:
    operator = start_operator(workers=1, stuck_seconds=2)
    assert operator.health() == (200, "ok")
    stuck = {**garden.storage, "endpoint": silent_server}
    garden.create_finetunejob("stuck", storage=stuck)
    garden.create_finetunejob("behind")
    wait_for(lambda: operator.health()[0] == 500, what="a failing health check")
    assert "has waited" in operator.health()[1]
    wait_for(lambda: operator.health() == (200, "ok"), timeout=60, what="health once the worker is free")
    assert garden.finetunejob("stuck")["status"]["conditions"][0]["reason"] == "StorageUnavailable"


def test_an_operator_without_work_is_healthy(start_operator: StartOperator) -> None:
    operator = start_operator(resync_seconds=1, stuck_seconds=1)
    wait_for(lambda: operator.metric("modelgarden_queue_depth") == 0)
    assert operator.health() == (200, "ok")

"""A real MLflow server over SQLite, asked by its REST API for what a tracker has told it.

It has an environment of its own lock file, in `tests/integration/mlflow`: the trainer has the client alone.
`python -m tests.integration.mlflow_server` makes it ahead of the tests.
"""

from __future__ import annotations

import http.client
import json
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from hack.cluster import probes
from hack.cluster.daemons import Daemon
from tests.integration.environments import python_of

ENVIRONMENT = Path(__file__).with_name("mlflow")


def mlflow_python() -> Path:
    """Return the Python of the server's environment, made first where it is not there as a whole."""
    return python_of(ENVIRONMENT, "mlflow-env")


class MLflowServer:
    """A server whose state lies in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = probes.free_ports(1)[0]
        self.uri = f"http://127.0.0.1:{self._port}"

    @cached_property
    def daemon(self) -> Daemon:
        """The server's process."""
        store = ("--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db")
        artifacts = ("--artifacts-destination", str(self._folder / "artifacts"))
        address = ("--host", "127.0.0.1", "--port", str(self._port), "--workers", "1")
        return Daemon(
            "mlflow",
            self._folder,
            (str(mlflow_python()), "-m", "mlflow", "server", *store, *artifacts, *address),
            ready=lambda: probes.http_ok(f"{self.uri}/health"),
            environment={"MLFLOW_DISABLE_TELEMETRY": "true"},
            start_seconds=120,
            dies_with_parent=True,
        )

    def runs(self, experiment: str) -> list[dict[str, Any]]:
        """Return the runs of an experiment."""
        found = self._ask("experiments/get-by-name", {"experiment_name": experiment})
        asked = {"experiment_ids": [found["experiment"]["experiment_id"]]}
        runs: list[dict[str, Any]] = self._ask("runs/search", {}, body=asked).get("runs", [])
        return runs

    def history(self, run: str, metric: str) -> list[tuple[int, float]]:
        """Return the steps and values of a metric, in the order in which they were told."""
        told = self._ask("metrics/get-history", {"run_id": run, "metric_key": metric}).get("metrics", [])
        return [(int(one["step"]), float(one["value"])) for one in told]

    def _ask(self, name: str, query: dict[str, str], *, body: dict[str, Any] | None = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request(
                "GET" if body is None else "POST",
                f"/api/2.0/mlflow/{name}?{urlencode(query)}",
                body=None if body is None else json.dumps(body),
                headers={"Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, content
        found: dict[str, Any] = json.loads(content)
        return found


if __name__ == "__main__":
    mlflow_python()

"""Storage that overlooks conditions: a job waits for another one, and nothing is registered."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests

from modelgarden.api.pods import PodStorage
from modelgarden_pod.storage import open_folder
from tests.integration.harness.api import condition, reason
from tests.integration.harness.garden import ROWS, Garden
from tests.integration.harness.gcs import GcsServer
from tests.integration.harness.waiting import wait_for

CONDITION = "ifGenerationMatch"


@dataclass
class Between:
    """What stands before a GCS server."""

    endpoint: str = ""
    overlooks: bool = True
    """It takes the conditions of writes away."""


@contextmanager
def between(server: GcsServer) -> Iterator[Between]:
    """Serve a GCS server through something that may take conditions away."""
    stands = Between()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            parts = urlsplit(self.path)
            query = [one for one in parse_qsl(parts.query) if one[0] != CONDITION or not stands.overlooks]
            answer = requests.request(
                self.command,
                f"{server.endpoint}{parts.path}?{urlencode(query)}",
                data=self.rfile.read(int(self.headers.get("Content-Length", 0))),
                headers={"Content-Type": self.headers.get("Content-Type", "")},
                timeout=10,
            )
            self.send_response(answer.status_code)
            for name in ("Content-Type", "X-Goog-Hash"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = pass_on  # noqa: N815 -- named as the methods are

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- overridden as it is
            """Nobody reads it."""

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    stands.endpoint = f"http://127.0.0.1:{proxy.server_port}"
    try:
        yield stands
    finally:
        proxy.shutdown()
        proxy.server_close()


@pytest.mark.usefixtures("operator")
def test_a_job_waits_for_storage_that_minds_conditions(garden: Garden, gcs: GcsServer) -> None:
    bucket = gcs.create_bucket(garden.namespace)
    root = open_folder(f"gs://{bucket}", PodStorage(gcs_endpoint=gcs.endpoint))
    root.write("data.jsonl", "\n".join(json.dumps(row) for row in ROWS).encode())
    root.write("model/config.json", b"{}")
    with between(gcs) as stands:
        fields = {
            "model": {"source": f"gs://{bucket}/model"},
            "dataset": {"source": f"gs://{bucket}/data.jsonl"},
            "output": {"uri": f"gs://{bucket}/garden", "modelName": "bot"},
            "storage": {"gcs": {"endpoint": stands.endpoint}},
        }
        garden.create_finetunejob("bot", **fields)
        wait_for(
            lambda: reason(garden.finetunejob("bot"), "Accepted") == "StorageUnsafe", 20, what="the refusal"
        )
        told = condition(garden.finetunejob("bot"), "Accepted")["message"]
        assert f"gs://{bucket}/garden/write-proof.json" in told
        assert "conditional writes" in told

        garden.create_finetunejob("dry", **fields, dryRun=True)
        wait_for(lambda: reason(garden.finetunejob("dry"), "Accepted") == "Accepted", 20, what="the dry run")

        stands.overlooks = False
        wait_for(
            lambda: reason(garden.finetunejob("bot"), "Accepted") == "Accepted", 30, what="the mended job"
        )

"""A GCS server of the tests: fake-gcs-server, which keeps its objects in memory.

Of conditions it honours ifGenerationMatch of writes (0 for an object that is not there) and the generation of reads; the
conditions of reads it overlooks, so that none is asked for.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from hack.cluster import binaries, probes
from hack.cluster.daemons import Daemon

PROGRAM = "fake-gcs-server"


class GcsServer:
    """A server on a loopback port; it ends with the calling process at the latest."""

    def __init__(self, folder: Path) -> None:
        binaries.ensure(PROGRAM)
        (port,) = probes.free_ports(1)
        self.endpoint = f"http://127.0.0.1:{port}"
        flags = ("-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory")
        self.daemon = Daemon(
            PROGRAM,
            folder,
            (str(binaries.path(PROGRAM)), *flags, "-external-url", self.endpoint, "-log-level", "warn"),
            ready=lambda: probes.http_ok(f"{self.endpoint}/_internal/healthcheck"),
            dies_with_parent=True,
        )

    def start(self) -> None:
        """Start it without any object."""
        self.daemon.start()

    def stop(self) -> None:
        """End it; its objects are gone."""
        self.daemon.stop()

    @cached_property
    def client(self) -> Client:
        """A client of the server."""
        options = {"api_endpoint": self.endpoint}
        return Client(project="test", credentials=AnonymousCredentials(), client_options=options)

    def create_bucket(self, name: str) -> str:
        """Create a bucket and return its name."""
        self.client.create_bucket(name)
        return name

"""The S3 server of the local cluster and of the tests: versitygw over a folder.

A server that is stopped and started again keeps its port, its keys and its data, which is what an outage test needs.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from hack.cluster import binaries, notes, probes, progress
from hack.cluster.daemons import Daemon

REGION = "us-east-1"


@dataclass(frozen=True)
class S3Access:
    """What a client needs to know."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str = REGION

    def environment(self) -> dict[str, str]:
        """Return the variables that AWS clients read."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
        }


class S3Server:
    """An S3 server whose state lies in `folder`."""

    def __init__(self, folder: Path, address: str, port: int, *, dies_with_parent: bool = False) -> None:
        self.folder = folder
        self._dies_with_parent = dies_with_parent
        self.access = self._stored(S3Access(f"http://{address}:{port}", "modelgarden", secrets.token_hex(16)))

    @property
    def endpoint(self) -> str:
        return self.access.endpoint

    @property
    def access_key(self) -> str:
        return self.access.access_key

    @property
    def secret_key(self) -> str:
        return self.access.secret_key

    @property
    def data(self) -> Path:
        """The folder whose subfolders are the buckets."""
        return self.folder / "s3"

    @cached_property
    def daemon(self) -> Daemon:
        """The server's process."""
        where = self.endpoint.removeprefix("http://")
        flags = ("--port", where, "--region", self.access.region, "--health", "/healthz", "--quiet")
        return Daemon(
            "versitygw",
            self.folder,
            (str(binaries.path("versitygw")), *flags, "posix", str(self.data)),
            ready=lambda: probes.http_ok(f"{self.endpoint}/healthz"),
            environment={"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key},
            dies_with_parent=self._dies_with_parent,
        )

    def start(self) -> None:
        """Start it with the data that it had."""
        self.data.mkdir(parents=True, exist_ok=True)
        self.daemon.start()

    def stop(self) -> None:
        """End it; the data stays."""
        self.daemon.stop()

    def _stored(self, access: S3Access) -> S3Access:
        file = self.folder / "s3.json"
        if known := notes.read(file):
            return S3Access(**known)
        notes.write(file, asdict(access))
        return access


def start_s3(folder: Path, port: int | None = None) -> S3Server:
    """Start an S3 server on a loopback port with its state in `folder`, for a test session.

    It ends with the calling process at the latest. Raises ClusterError where it does not start.
    """
    binaries.ensure("control-plane")
    server = S3Server(folder, "127.0.0.1", port or probes.free_ports(1)[0], dies_with_parent=True)
    with progress.step("start S3 server"):
        server.start()
    return server

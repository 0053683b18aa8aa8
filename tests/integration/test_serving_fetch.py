"""`fetch` against a real S3 server, over connections that break, with content that is wrong, in processes that die."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import pytest

from hack.cluster import S3Server
from modelgarden.api.access import Storage
from modelgarden.api.artifact import FileEntry, RunIdentity
from modelgarden.api.layout import MERGED_DIR
from modelgarden.api.pods import PodStorage, ServeConfig, TerminationMessage
from modelgarden.registry.lookups import Lookups
from modelgarden.registry.sources import resolve_source
from modelgarden.registry.stores import Stores
from modelgarden_pod.errors import CorruptObject, TemporaryError
from modelgarden_pod.retry import Patience
from modelgarden_serve.fetch import Limits, Mendable, fetch
from tests.integration.cutting_proxy import CuttingProxy, cutting_proxy
from tests.integration.harness.waiting import wait_for
from tests.unit.builders import make_manifest

ROOT = Path(__file__).parents[2]
MIB = 2**20
LIMITS = Limits(part_bytes=MIB, parallel_parts=4)
QUICK = Patience(total=30.0, first_delay=0.05, longest_delay=0.5)
FETCH = """
import sys
from pathlib import Path
from modelgarden.api.pods import ServeConfig
from modelgarden_serve.fetch import Limits, fetch
fetch(ServeConfig.model_validate_json(Path(sys.argv[1]).read_text()), limits=Limits(1048576, 4))
"""


@dataclass
class Published:
    """A run in S3 and where it is fetched to."""

    s3: S3Server
    bucket: str
    target: Path
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(map(len, self.files.values()))

    def put(self, key: str, body: bytes) -> None:
        client = boto3.client(
            "s3", endpoint_url=self.s3.endpoint, aws_access_key_id=self.s3.access_key,
            aws_secret_access_key=self.s3.secret_key, region_name=self.s3.access.region,
        )  # fmt: skip
        client.put_object(Bucket=self.bucket, Key=key, Body=body)

    def publish(self, size: int) -> ServeConfig:
        """Write an artifact with weights of so many bytes; return the configuration that serves it."""
        dice = random.Random(size)
        self.files = {"config.json": b"{}", "model.safetensors": dice.randbytes(size)}
        entries = []
        for name, body in self.files.items():
            path = f"{MERGED_DIR}/{name}"
            self.put(f"run/{path}", body)
            entries.append(FileEntry(path=path, sha256=hashlib.sha256(body).hexdigest(), bytes=len(body)))
        manifest = make_manifest(
            run=RunIdentity(namespace="default", name="tune", uid="0b1c"), files=tuple(entries)
        )
        content = manifest.model_dump_json(by_alias=True).encode()
        self.put("run/manifest.json", content)
        return self.config(manifest_sha256=hashlib.sha256(content).hexdigest())

    def config(
        self, *, uri: str = "", manifest_sha256: str | None = None, listing_sha256: str | None = None
    ) -> ServeConfig:
        return ServeConfig(
            model_uri=uri or f"s3://{self.bucket}/run/manifest.json",
            manifest_sha256=manifest_sha256,
            listing_sha256=listing_sha256,
            served_model_name="bot",
            model_dir=str(self.target),
            storage=PodStorage(endpoint=self.s3.endpoint, region=self.s3.access.region),
        )

    def arrived(self) -> bool:
        return all((self.target / name).read_bytes() == body for name, body in self.files.items())

    def journalled(self) -> int:
        """Return how many parts of the weights are kept."""
        journal = self.target / ".fetch/model.safetensors.parts"
        return len(journal.read_text().splitlines()) - 1 if journal.exists() else 0


@pytest.fixture
def published(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Published:
    bucket = f"fetch-{random.randrange(10**12)}"
    for name, value in s3.access.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    # boto3 keeps the credentials that it read first.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    boto3.client("s3", endpoint_url=s3.endpoint, region_name=s3.access.region).create_bucket(Bucket=bucket)
    return Published(s3, bucket, tmp_path / "model")


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[CuttingProxy]:
    with cutting_proxy(s3.endpoint) as one:
        yield one


def through(config: ServeConfig, proxy: CuttingProxy) -> ServeConfig:
    return config.model_copy(
        update={"storage": config.storage.model_copy(update={"endpoint": proxy.endpoint})}
    )


def command(config: ServeConfig, folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start a process with the configuration in a file."""
    file = folder / "config.json"
    file.write_text(config.model_dump_json(by_alias=True, exclude_none=True))
    path = os.pathsep.join(str(ROOT / part) for part in ("operator", "images/pod", "images/serve"))
    environment = {
        **os.environ, "PYTHONPATH": path, "MODELGARDEN_TERMINATION_LOG": str(folder / "termination-log"),
    }  # fmt: skip
    return subprocess.Popen([sys.executable, *words, str(file)], env=environment)


def test_connections_that_are_cut_lose_nothing(published: Published, proxy: CuttingProxy) -> None:
    config = through(published.publish(24 * MIB), proxy)
    proxy.cut_after, proxy.cut_every = MIB // 2, 3

    fetch(config, limits=LIMITS, patience=QUICK)

    assert published.arrived()
    assert proxy.cuts > 3


def test_an_outage_in_the_middle_is_waited_for(published: Published, proxy: CuttingProxy) -> None:
    config = through(published.publish(24 * MIB), proxy)

    proxy.stall_after = 4 * MIB

    def go_away() -> None:
        wait_for(lambda: proxy.sent >= 4 * MIB)
        proxy.away = True
        proxy.stall_after = None
        wait_for(lambda: proxy.cuts > 0)
        threading.Event().wait(2.0)
        proxy.away = False

    outage = threading.Thread(target=go_away)
    outage.start()
    fetch(config, limits=LIMITS, patience=QUICK)
    outage.join()

    assert published.arrived()


def test_an_outage_beyond_the_patience_ends_as_temporary_and_keeps_what_came(
    published: Published, proxy: CuttingProxy
) -> None:
    config = through(published.publish(24 * MIB), proxy)
    proxy.stall_after = 8 * MIB

    def go_away() -> None:
        wait_for(lambda: proxy.sent >= 8 * MIB)
        proxy.away = True
        proxy.stall_after = None

    threading.Thread(target=go_away).start()
    with pytest.raises(TemporaryError) as caught:
        fetch(config, limits=LIMITS, patience=Patience(total=1.0, first_delay=0.05))
    assert caught.value.exit_code == 75
    kept = published.journalled()
    assert kept > 0
    proxy.away, proxy.sent = False, 0

    fetch(config, limits=LIMITS, patience=QUICK)

    assert published.arrived()
    assert proxy.sent < published.size - (kept - 4) * MIB


def test_a_killed_fetch_goes_on_in_the_next_process(
    published: Published, proxy: CuttingProxy, tmp_path: Path
) -> None:
    config = through(published.publish(32 * MIB), proxy)
    proxy.stall_after = 16 * MIB
    first = command(config, tmp_path, "-c", FETCH)
    wait_for(lambda: published.journalled() >= 8, 60, what="half of the parts")
    first.kill()
    first.wait()
    kept = published.journalled()
    assert not (published.target / "model.safetensors").exists()
    proxy.stall_after, proxy.sent = None, 0

    assert command(config, tmp_path, "-c", FETCH).wait(60) == 0

    assert published.arrived()
    assert proxy.sent < published.size - kept * MIB + MIB


def test_a_finished_fetch_reads_only_the_manifest_again(published: Published, proxy: CuttingProxy) -> None:
    config = through(published.publish(4 * MIB), proxy)
    fetch(config, limits=LIMITS)
    proxy.sent = 0

    fetch(config, limits=LIMITS)

    assert proxy.sent < 64 * 1024


def test_a_stopped_fetch_says_so(published: Published, proxy: CuttingProxy, tmp_path: Path) -> None:
    config = through(published.publish(8 * MIB), proxy)
    proxy.stall_after = 4096
    process = command(config, tmp_path, "-m", "modelgarden_serve", "fetch", "--config")
    wait_for(lambda: proxy.sent >= 4096, 60, what="the first bytes")

    process.send_signal(signal.SIGTERM)

    assert process.wait(20) == 143


def test_wrong_content_is_refused_with_its_reason(published: Published, tmp_path: Path) -> None:
    config = published.publish(3 * MIB)
    published.put(f"run/{MERGED_DIR}/model.safetensors", bytes(3 * MIB))
    with pytest.raises(CorruptObject):
        fetch(config, limits=LIMITS)

    assert command(config, tmp_path, "-m", "modelgarden_serve", "fetch", "--config").wait(60) == 64

    said = TerminationMessage.model_validate_json((tmp_path / "termination-log").read_text())
    assert said.reason == "ArtifactInvalid"
    assert "model.safetensors has SHA-256" in said.message


def test_wrong_keys_can_be_mended(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    config = published.publish(10)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)

    with pytest.raises(Mendable) as caught:
        fetch(config)

    assert (caught.value.reason, caught.value.exit_code) == ("AccessDenied", 75)


async def test_a_folder_has_the_same_digest_for_operator_and_pod(published: Published) -> None:
    published.files = {"config.json": b"{}", "nested/weights.safetensors": b"weights"}
    for name, body in published.files.items():
        published.put(f"base/{name}", body)
    uri = f"s3://{published.bucket}/base"
    stores = Stores(threads=2)
    storage = Storage(endpoint=published.s3.endpoint, region=published.s3.access.region)
    resolved = await resolve_source(stores.for_storage(storage, None), uri, lookups=Lookups())
    stores.close()

    fetch(published.config(uri=uri, listing_sha256=resolved.sha256), limits=LIMITS)

    assert published.arrived()

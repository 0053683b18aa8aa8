"""An endpoint that answers but is no S3 service is told as such by operator and pods, and never as a missing input."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from hack.cluster import S3Server
from modelgarden.api.access import Storage
from modelgarden.api.layout import Location
from modelgarden.api.pods import PodStorage
from modelgarden.registry.errors import Refused, Unavailable
from modelgarden.registry.inputs import Inputs, InputSources
from modelgarden.registry.lookups import Lookups
from modelgarden.registry.sources import resolve_source
from modelgarden.registry.store import Store
from modelgarden.registry.stores import Stores
from modelgarden_pod.errors import TemporaryError
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage import open_folder
from tests.integration.strange_services import Page, greeter, self_signed, web_server

HTML = b"<!DOCTYPE html><html><head><title>Nothing</title></head><body><p>Nothing here<br></body></html>"
XHTML = b"<html><body><h1>Nothing here</h1></body></html>"
JSON = {"Content-Type": "application/json"}
AS_A_FILE = {"Content-Type": "text/html", "ETag": '"65f0"', "Last-Modified": "Sat, 21 Nov 2026 12:00:00 GMT"}

Service = Callable[[], AbstractContextManager[str]]
SERVICES: dict[str, Service] = {
    "an HTML page that is not there": lambda: web_server(Page(HTML, 404)),
    "an XHTML page that is not there": lambda: web_server(Page(XHTML, 404)),
    "JSON for what is not there": lambda: web_server(Page(b'{"error": "not found"}', 404, JSON)),
    "an empty answer": lambda: web_server(Page(b"", 404, {})),
    "a login": lambda: web_server(Page(HTML, 302, {"Location": "https://login.example.com/"})),
    "a password": lambda: web_server(Page(b"401 Unauthorized", 401, {"WWW-Authenticate": "Basic"})),
    "a page for every path": lambda: web_server(Page(HTML)),
    "a well-formed page for every path": lambda: web_server(Page(XHTML)),
    "a file for every path": lambda: web_server(Page(HTML, headers=AS_A_FILE)),
    "JSON for every path": lambda: web_server(Page(b"{}", headers=JSON)),
    "nothing for every path": lambda: web_server(Page(b"", headers={})),
    "a server that wants TLS": lambda: web_server(Page(b"Client sent an HTTP request to an HTTPS server.", 400, {})),
    "another protocol": lambda: greeter(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "Redis": lambda: greeter(b"-ERR unknown command 'GET'\r\n"),
}  # fmt: skip


@pytest.fixture
def stores() -> Iterator[Stores]:
    opened = Stores(threads=4)
    yield opened
    opened.close()


@contextmanager
def at(stores: Stores, service: Service) -> Iterator[tuple[str, Store]]:
    with service() as endpoint:
        keys = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "something"}
        data = {name: base64.b64encode(value.encode()).decode() for name, value in keys.items()}
        secret = {"metadata": {"name": "s3"}, "data": data}
        yield endpoint, stores.for_storage(Storage(endpoint=endpoint), secret)


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
async def test_the_operator_tells_it_before_anything_is_looked_for(stores: Stores, service: Service) -> None:
    sources = InputSources(model="hf://a/b", dataset=("s3://bucket/data.jsonl",), output="s3://bucket/garden")
    with at(stores, service) as (endpoint, store):
        with pytest.raises(Refused) as of_a_job:
            await Inputs().fingerprint(store, sources)
        with pytest.raises(Refused) as of_a_deployment:
            await resolve_source(store, "s3://bucket/model", lookups=Lookups())

    for refused in (of_a_job.value, of_a_deployment.value):
        assert refused.reason == "EndpointInvalid"
        assert f"{endpoint} is no S3 service" in refused.message
        assert "storage.endpoint" in refused.message


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_a_pod_waits_for_the_service_and_tells_it(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "something")
    with service() as endpoint:
        folder = open_folder("s3://bucket/run", PodStorage(endpoint=endpoint), patience=Patience(total=0))
        for look in (folder.list, lambda: folder.child("nothing").list()):
            with pytest.raises(TemporaryError) as away:
                look()
            assert f"{endpoint} is no S3 service" in away.value.message


@pytest.mark.parametrize("service", [SERVICES["JSON for what is not there"], SERVICES["a login"]])
def test_a_pod_takes_no_file_for_missing(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "something")
    with service() as endpoint:
        folder = open_folder("s3://bucket/run", PodStorage(endpoint=endpoint), patience=Patience(total=0))
        for look in (folder.stat, folder.read):
            with pytest.raises(TemporaryError, match="is no S3 service"):
                look("manifest.json")


async def test_https_before_a_service_without_tls_is_told(stores: Stores, s3: S3Server) -> None:
    endpoint = s3.endpoint.replace("http://", "https://")
    with at(stores, lambda: _plain(endpoint)) as (_, store), pytest.raises(Refused) as refused:
        await store.require_bucket(Location("bucket", ""))

    assert refused.value.reason == "EndpointInvalid"
    assert f"{endpoint} is no S3 service: it does not speak TLS" in refused.value.message


@contextmanager
def _plain(endpoint: str) -> Iterator[str]:
    yield endpoint


async def test_an_endpoint_that_no_client_can_use_is_told(stores: Stores) -> None:
    too_long = f"http://{'s' * 64}.svc:9000"  # a part of a host's name has 63 characters at most
    with at(stores, lambda: _plain(too_long)) as (_, store), pytest.raises(Refused) as refused:
        await store.require_bucket(Location(f"bucket-{uuid.uuid4().hex}", ""))

    assert refused.value.reason == "EndpointInvalid"
    assert too_long in refused.value.message


async def test_a_certificate_that_is_not_trusted_is_told_with_what_to_do(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def secured() -> AbstractContextManager[str]:
        return web_server(Page(b""), tls=self_signed(tmp_path))

    with at(stores, secured) as (endpoint, store):
        of_the_operator = await asked_by_the_operator(store)
        of_a_pod = asked_by_a_pod(endpoint, monkeypatch)

    for message in (of_the_operator, of_a_pod):
        assert f"{endpoint} has a certificate that is not trusted: self-signed certificate. " in message
        assert "trust the public certificate authorities" in message
        assert "http:// inside the cluster" in message


async def test_a_host_without_an_address_is_told_with_what_to_do(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = "http://nowhere.invalid:9000"  # RFC 6761: there is none such
    with at(stores, lambda: _plain(nowhere)) as (endpoint, store):
        of_the_operator = await asked_by_the_operator(store)
        of_a_pod = asked_by_a_pod(endpoint, monkeypatch)

    for message in (of_the_operator, of_a_pod):
        assert f"{endpoint} cannot be found, as its host name cannot be resolved: " in message
        assert "Correct the host in storage.endpoint" in message


async def asked_by_the_operator(store: Store) -> str:
    """Return what is told of the outage, which is looked at again."""
    with pytest.raises(Unavailable) as away:
        await store.require_bucket(Location("bucket", ""))
    assert away.value.message.endswith("The operator keeps trying.")
    return away.value.message


def asked_by_a_pod(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what is told of the outage, which is waited for."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "something")
    folder = open_folder("s3://bucket/run", PodStorage(endpoint=endpoint), patience=Patience(total=0))
    with pytest.raises(TemporaryError) as away:
        folder.list()
    return away.value.message

"""What the operator asks S3, and no more: one request where all is well, and a second one to tell what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from modelgarden.api.access import Storage
from modelgarden.api.layout import Location
from modelgarden.registry.errors import Missing, Refused, StorageError
from modelgarden.registry.store import Store
from modelgarden.registry.stores import Stores
from tests.unit.registry.test_credentials import secret
from tests.unit.s3_wire import Answer, Sent, Wire, error

PLACE = Location("bucket", "key")
LISTING = Answer("<ListBucketResult><Name>bucket</Name><KeyCount>0</KeyCount></ListBucketResult>")


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def store(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    import boto3

    connect = boto3.client

    def taken(*args: Any, **options: Any) -> Any:
        client = connect(*args, **options)
        wire.take(client)
        return client

    monkeypatch.setattr(boto3, "client", taken)
    stores = Stores(threads=2)
    keys = secret(AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret")
    yield stores.for_storage(Storage(endpoint="http://s3:9000"), keys)
    stores.close()


def asked(wire: Wire) -> list[tuple[str, str]]:
    return [(sent.method, sent.path) for sent in wire.sent]


async def test_where_all_is_well_each_question_is_one_request(store: Store, wire: Wire) -> None:
    found = {"ETag": '"1"', "Last-Modified": "Sat, 21 Nov 2026 12:00:00 GMT"}
    wire.answer = lambda sent: LISTING if "list-type" in sent.query else Answer("content", headers=found)

    await store.require_bucket(PLACE)
    assert await store.head(PLACE) is not None
    assert await store.get_bytes(PLACE) == b"content"
    assert await store.list_keys(PLACE) == ()

    assert asked(wire) == [
        ("GET", "/bucket"), ("HEAD", "/bucket/key"), ("GET", "/bucket/key"), ("GET", "/bucket")
    ]  # fmt: skip


async def test_what_head_has_no_words_for_is_told_by_a_listing(store: Store, wire: Wire) -> None:
    wire.answer = lambda sent: error("InvalidAccessKeyId", 403, "No such key id.")

    with pytest.raises(Refused, match=r"InvalidAccessKeyId \(HTTP 403\): No such key id"):
        await store.head(PLACE)

    assert asked(wire) == [("HEAD", "/bucket/key"), ("GET", "/bucket")]


async def test_what_a_listing_does_not_tell_is_told_by_head(store: Store, wire: Wire) -> None:
    wire.answer = lambda sent: LISTING if "list-type" in sent.query else error("AccessDenied", 403)

    with pytest.raises(Refused, match="HEAD s3://bucket/key: S3 answered 403"):
        await store.head(PLACE)


@pytest.mark.parametrize("status", [301, 302, 307])
async def test_a_redirect_that_leads_nowhere_is_not_followed(store: Store, wire: Wire, status: int) -> None:
    """botocore asks HEAD of the bucket for its region, is redirected, and asks again without an end."""
    wire.answer = lambda sent: Answer("<html>moved</html>", status, {"Location": "http://elsewhere/"})

    for request in (store.head(PLACE), store.get_bytes(PLACE), store.require_bucket(PLACE)):
        with pytest.raises(StorageError):
            await request

    assert len(wire.sent) <= 8


async def test_a_bucket_of_a_region_that_is_not_named_is_told_as_such(store: Store, wire: Wire) -> None:
    wire.answer = lambda sent: error("PermanentRedirect", 301)

    for request in (store.head(PLACE), store.require_bucket(PLACE)):
        with pytest.raises(Missing, match=r"correct storage\.region") as missing:
            await request
        assert missing.value.reason == "BucketNotFound"


async def test_a_bucket_of_another_region_is_found_where_the_service_names_it(
    store: Store, wire: Wire
) -> None:
    def answer(sent: Sent) -> Answer:
        if "eu-west-1" in sent.headers["authorization"]:
            return LISTING
        moved = error("PermanentRedirect", 301)
        return Answer(moved.body, 301, {"x-amz-bucket-region": "eu-west-1"})

    wire.answer = answer

    await store.require_bucket(PLACE)


async def test_a_page_for_every_path_is_no_empty_bucket(store: Store, wire: Wire) -> None:
    wire.answer = lambda sent: Answer("<html><body>Welcome</body></html>")

    with pytest.raises(Refused, match="http://s3:9000 is no S3 service") as refused:
        await store.list_keys(PLACE)

    assert refused.value.reason == "EndpointInvalid"
    assert len(wire.sent) == 1

"""The proof that storage minds conditions, against storage that does and storage that does not."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from modelgarden.api.conditions import REASONS
from modelgarden.api.layout import Location
from modelgarden.api.storage.failures import S3, Kind, Service, StorageFailure
from modelgarden.registry.errors import Refused, Unavailable
from modelgarden.registry.objects import Content, ObjectInfo
from modelgarden.registry.safety import ProvenBuckets
from modelgarden.registry.service import ObjectService
from modelgarden.registry.store import Store

ROOT = Location("bucket", "garden")


class Failed(Exception):  # noqa: N818 -- says what is so
    """A request that ended otherwise than well."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind


class Memory:
    """Objects of a service that minds what it is told to mind."""

    service: Service = S3
    endpoint = "http://memory"

    def __init__(
        self, *, minds_absence: bool = True, minds_tags: bool = True, fails: Kind | None = None
    ) -> None:
        self.minds_absence = minds_absence
        self.minds_tags = minds_tags
        self.fails = fails
        self.kept: dict[str, tuple[bytes, int]] = {}
        self.asked = 0
        self._writes = 0

    def failure_of(self, error: BaseException) -> StorageFailure | None:
        return StorageFailure(S3, error.kind, error.kind, "so it is") if isinstance(error, Failed) else None

    def require_bucket(self, bucket: str) -> None:
        """Every bucket is there."""

    def head(self, location: Location) -> ObjectInfo:
        content, tag = self.kept[str(location)]
        return ObjectInfo(location.key, len(content), str(tag), datetime.now(UTC))

    def get(self, location: Location, *, most: int) -> Content:
        self.asked += 1
        if str(location) not in self.kept:
            raise Failed(Kind.NOT_FOUND)
        content, tag = self.kept[str(location)]
        return Content(content, str(tag), len(content))

    def put(self, location: Location, content: bytes, *, if_none_match: bool, if_match: str | None) -> None:
        self.asked += 1
        if self.fails is not None:
            raise Failed(self.fails)
        found = self.kept.get(str(location))
        if self.minds_absence and if_none_match and found is not None:
            raise Failed(Kind.PRECONDITION)
        if self.minds_tags and if_match is not None and (found is None or str(found[1]) != if_match):
            raise Failed(Kind.PRECONDITION)
        self._writes += 1
        self.kept[str(location)] = (content, self._writes)

    def list(self, prefix: Location, *, start: str, limit: int) -> tuple[ObjectInfo, ...]:
        return ()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


def store_of(objects: Memory, pool: ThreadPoolExecutor) -> Store:
    return Store({"s3": ObjectService(objects, pool=pool, lanes=1)})


async def test_storage_that_minds_conditions_is_asked_once_for_a_bucket(pool: ThreadPoolExecutor) -> None:
    objects, buckets = Memory(), ProvenBuckets()
    store = store_of(objects, pool)

    await buckets.require(store, ROOT)
    asked = objects.asked
    await buckets.require(store, Location("bucket", "another/garden"))
    await ProvenBuckets().require(store, ROOT)  # as another operator does, which finds the object there

    assert list(objects.kept) == ["s3://bucket/garden/write-proof.json"]
    assert objects.asked == 2 * asked == 10
    await buckets.require(store, Location("other", "garden"))
    assert objects.asked == 3 * asked


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        (Memory(minds_absence=False), "wrote an object that was to be written only where none is"),
        (Memory(minds_tags=False), "wrote over an object that had changed since"),
    ],
    ids=["absence", "tags"],
)
async def test_storage_that_overlooks_a_condition_is_unsafe(
    objects: Memory, words: str, pool: ThreadPoolExecutor
) -> None:
    buckets = ProvenBuckets()
    for _ in range(2):  # it is not taken for proven afterwards
        with pytest.raises(Refused, match=words) as refused:
            await buckets.require(store_of(objects, pool), ROOT)
        assert refused.value.reason == "StorageUnsafe"
        assert refused.value.reason in REASONS

    objects.minds_absence = objects.minds_tags = True
    await buckets.require(store_of(objects, pool), ROOT)


async def test_who_may_not_write_is_told_so(pool: ThreadPoolExecutor) -> None:
    with pytest.raises(Refused) as refused:
        await ProvenBuckets().require(store_of(Memory(fails=Kind.DENIED), pool), ROOT)
    assert refused.value.reason == "AccessDenied"

    with pytest.raises(Unavailable):
        await ProvenBuckets().require(store_of(Memory(fails=Kind.PASSING), pool), ROOT)

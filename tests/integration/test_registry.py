"""The registry against a real S3 server: versions, the alias, inputs, and what goes wrong."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from hack.cluster import S3Server, start_s3
from modelgarden.api.access import Storage
from modelgarden.api.artifact import FileEntry, RunIdentity, VersionRecord
from modelgarden.api.documents import OPERATOR
from modelgarden.api.layout import LATEST, MANIFEST, Location, alias_key, listing_digest, version_key
from modelgarden.finetune.emissions import read_attempts
from modelgarden.registry.artifacts import Candidate, Registration, find
from modelgarden.registry.errors import Missing, Refused, StorageError, Unavailable
from modelgarden.registry.inputs import Inputs, InputSources, folder_digest
from modelgarden.registry.lookups import Lookups
from modelgarden.registry.service import REST_SECONDS
from modelgarden.registry.sources import resolve_source
from modelgarden.registry.store import Store
from modelgarden.registry.stores import Stores
from modelgarden.registry.versions import allocate, move_alias
from tests.unit.builders import make_manifest

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def stores() -> Iterator[Stores]:
    opened = Stores(threads=8)
    yield opened
    opened.close()


@pytest.fixture
def objects(s3: S3Server) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        region_name=s3.access.region,
    )


@pytest.fixture
def bucket(objects: S3Client) -> str:
    name = f"bucket-{uuid.uuid4().hex[:10]}"
    objects.create_bucket(Bucket=name)
    return name


@pytest.fixture
def store(stores: Stores, s3: S3Server) -> Store:
    return open_store(stores, s3)


def open_store(stores: Stores, s3: S3Server, *, access_key: str = "", secret_key: str = "") -> Store:
    keys = {
        "AWS_ACCESS_KEY_ID": access_key or s3.access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key or s3.secret_key,
    }
    data = {name: base64.b64encode(value.encode()).decode() for name, value in keys.items()}
    return stores.for_storage(
        Storage(endpoint=s3.endpoint, region=s3.access.region), {"metadata": {"name": "s3"}, "data": data}
    )


async def finished_run(store: Store, bucket: str, name: str, **manifest: Any) -> Candidate:
    """Leave the artifact of a run, as the trainer does."""
    run = RunIdentity(namespace="team", name=name, uid=f"uid-of-{name}")
    candidate = Candidate(run=run, output_uri=f"s3://{bucket}/garden", model_name="bot")
    weights = f"weights of {name}".encode()
    entry = FileEntry(
        path="artifact/merged/model.safetensors",
        sha256=hashlib.sha256(weights).hexdigest(),
        bytes=len(weights),
    )
    await store.put_bytes(candidate.folder.child(entry.path), weights)
    content = make_manifest(**{"run": run, "files": (entry,), **manifest}).model_dump_json(by_alias=True)
    await store.put_bytes(candidate.folder.child(MANIFEST), content.encode())
    return candidate


async def register(store: Store, candidate: Candidate, *, now: datetime) -> Registration:
    """Do what a FineTuneJob's last step does."""
    found = await allocate(store, await find(store, candidate), now=now)
    return await move_alias(store, found, alias=LATEST)


async def versions_of(store: Store, candidate: Candidate) -> dict[int, VersionRecord]:
    listed = await store.list_keys(candidate.model.child("versions"))
    found = [await store.get_bytes(Location(candidate.model.bucket, info.key)) for info in listed]
    records = [VersionRecord.read(content, reader=OPERATOR) for content in found if content]
    return {record.version: record for record in records}


async def latest(store: Store, candidate: Candidate) -> int:
    content = await store.get_bytes(candidate.model.child(alias_key(LATEST)))
    assert content is not None
    return VersionRecord.read(content, reader=OPERATOR).version


async def test_jobs_that_end_together_get_distinct_versions(store: Store, bucket: str) -> None:
    candidates = [await finished_run(store, bucket, f"job-{number}") for number in range(16)]

    done = await asyncio.gather(*(register(store, one, now=NOW) for one in candidates))

    assert sorted(one.artifact.version for one in done) == list(range(1, 17))
    found = await versions_of(store, candidates[0])
    assert {record.run.uid for record in found.values()} == {one.run.uid for one in candidates}
    assert await latest(store, candidates[0]) == 16


async def test_registering_again_finds_the_same_version(store: Store, bucket: str) -> None:
    candidates = [await finished_run(store, bucket, f"job-{number}") for number in range(3)]
    first = [(await register(store, one, now=NOW)).artifact for one in candidates]

    again = [(await register(store, one, now=NOW)).artifact for one in candidates]

    assert again == first
    assert len(await versions_of(store, candidates[0])) == 3


async def test_an_operator_that_died_before_the_alias_moved_is_caught_up_with(
    store: Store, bucket: str, objects: S3Client
) -> None:
    candidate = await finished_run(store, bucket, "job")
    await register(store, candidate, now=NOW)
    objects.delete_object(Bucket=bucket, Key=candidate.model.child(alias_key(LATEST)).key)

    done = await register(store, candidate, now=NOW)

    assert done.artifact.version == 1
    assert list(await versions_of(store, candidate)) == [1]
    assert await latest(store, candidate) == 1


async def test_the_alias_never_moves_back(store: Store, bucket: str) -> None:
    candidates = [await finished_run(store, bucket, f"job-{number}") for number in range(8)]
    done = [await register(store, one, now=NOW) for one in candidates]

    await asyncio.gather(*(move_alias(store, one, alias=LATEST) for one in done))

    assert await latest(store, candidates[0]) == 8


async def test_a_spoilt_record_keeps_nobody_from_registering(store: Store, bucket: str) -> None:
    candidate = await finished_run(store, bucket, "job")
    await store.put_bytes(candidate.model.child(version_key(1)), b"spoilt")
    await store.put_bytes(candidate.model.child(alias_key(LATEST)), b"spoilt")

    done = await register(store, candidate, now=NOW)

    assert done.artifact.version == 2
    assert await latest(store, candidate) == 2


async def test_versions_from_before_the_run_are_not_read(
    store: Store, s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates = [await finished_run(store, bucket, f"job-{number}") for number in range(12)]
    for candidate in candidates[:11]:
        await register(store, candidate, now=NOW)
    for number in range(1, 9):
        file = s3.data / bucket / candidates[0].model.child(version_key(number)).key
        os.utime(file, (0, 0))
    read: list[str] = []
    get_bytes = store.get_bytes

    async def counted(location: Location) -> bytes | None:
        read.append(location.key)
        return await get_bytes(location)

    monkeypatch.setattr(store, "get_bytes", counted)
    done = await register(store, candidates[11], now=NOW)

    assert done.artifact.version == 12
    assert sum("/versions/" in key for key in read) == 3


@pytest.mark.parametrize(
    ("spoil", "want_words"),
    [
        ("manifest", "does not exist"),
        ("file", "is in the manifest but does not exist"),
        ("size", "bytes, the manifest says"),
        ("digest", "has SHA-256"),
        ("other run", "not of run"),
        ("garbage", "is not a manifest"),
    ],
)
async def test_an_artifact_that_does_not_match_its_manifest_is_refused(
    store: Store, bucket: str, objects: S3Client, spoil: str, want_words: str
) -> None:
    candidate = await finished_run(store, bucket, "job")
    weights = candidate.folder.child("artifact/merged/model.safetensors")
    match spoil:
        case "manifest":
            objects.delete_object(Bucket=bucket, Key=candidate.folder.child(MANIFEST).key)
        case "file":
            objects.delete_object(Bucket=bucket, Key=weights.key)
        case "size":
            await store.put_bytes(weights, b"short")
        case "digest":
            await store.put_bytes(weights, b"WEIGHTS OF job")
        case "other run":
            stranger = RunIdentity(namespace="team", name="job", uid="stranger")
            await finished_run(store, bucket, "job", run=stranger)
        case "garbage":
            await store.put_bytes(candidate.folder.child(MANIFEST), b'{"run": 5}')

    with pytest.raises(StorageError) as refused:
        await register(store, candidate, now=NOW)

    assert refused.value.reason == "ArtifactInvalid"
    assert want_words in refused.value.message
    assert await versions_of(store, candidate) == {}


NEWER = b'{"schemaVersion": "2.0"}'


@pytest.mark.parametrize("place", ["manifest", "version", "alias"])
async def test_what_a_newer_version_wrote_is_neither_judged_nor_replaced(
    store: Store, bucket: str, place: str
) -> None:
    candidate = await finished_run(store, bucket, "job")
    location = {
        "manifest": candidate.folder.child(MANIFEST),
        "version": candidate.model.child("versions/1.json"),
        "alias": candidate.model.child(alias_key(LATEST)),
    }[place]
    await store.put_bytes(location, NEWER)

    with pytest.raises(StorageError) as refused:
        await register(store, candidate, now=NOW)

    assert refused.value.reason == "UpgradeNeeded"
    assert str(location) in refused.value.message
    assert "images.operator" in refused.value.message
    assert await store.get_bytes(location) == NEWER


async def test_of_a_failed_run_no_energy_is_counted_that_a_newer_version_recorded(
    store: Store, bucket: str
) -> None:
    run = Location(bucket, "run")
    await store.put_bytes(run.child("emissions/a.json"), NEWER)

    with pytest.raises(StorageError) as refused:
        await read_attempts(store, run)

    assert refused.value.reason == "UpgradeNeeded"


async def test_a_missing_bucket_is_told_by_every_request(store: Store) -> None:
    place = Location(f"absent-{uuid.uuid4().hex[:8]}", "key")
    for request in (
        store.require_bucket(place),
        store.head(place),
        store.get_bytes(place),
        store.list_keys(place),
        store.put_bytes(place, b"x"),
    ):
        with pytest.raises(Missing) as missing:
            await request
        assert missing.value.reason == "BucketNotFound"
        assert place.bucket in missing.value.message


@pytest.mark.parametrize(
    "keys", [{"secret_key": "wrong"}, {"access_key": "nobody"}], ids=["a wrong key", "an unknown user"]
)
async def test_refused_credentials_are_told(
    stores: Stores, s3: S3Server, bucket: str, keys: dict[str, str]
) -> None:
    store = open_store(stores, s3, **keys)
    for request in (store.require_bucket(Location(bucket, "")), store.head(Location(bucket, "key"))):
        with pytest.raises(Refused) as refused:
            await request
        assert refused.value.reason == "AccessDenied"


async def test_a_conditional_write_happens_once(store: Store, bucket: str) -> None:
    place = Location(bucket, "once")

    wrote = await asyncio.gather(
        *(store.put_bytes(place, str(number).encode(), if_none_match=True) for number in range(16))
    )

    assert sorted(wrote) == [False] * 15 + [True]
    assert await store.get_bytes(place) == str(wrote.index(True)).encode()


@pytest.fixture
async def own_s3(tmp_path: Path) -> AsyncIterator[S3Server]:
    server = start_s3(tmp_path)
    yield server
    server.stop()


async def test_an_outage_is_told_at_once_and_its_end_is_noticed(stores: Stores, own_s3: S3Server) -> None:
    store = open_store(stores, own_s3)
    own_s3.data.joinpath("garden").mkdir()
    place = Location("garden", "key")
    await store.put_bytes(place, b"content")
    own_s3.stop()

    started = time.monotonic()
    for _ in range(50):
        with pytest.raises(Unavailable) as away:
            await store.get_bytes(place)
    waited = time.monotonic() - started
    own_s3.start()

    assert away.value.reason == "StorageUnavailable"
    assert waited < 5
    deadline = time.monotonic() + REST_SECONDS + 10
    while True:
        try:
            assert await store.get_bytes(place) == b"content"
            break
        except Unavailable:
            assert time.monotonic() < deadline, "the end of the outage was not noticed"
            await asyncio.sleep(0.1)


@pytest.fixture
async def sources(store: Store, bucket: str) -> InputSources:
    await store.put_bytes(Location(bucket, "data.jsonl"), b"{}")
    await store.put_bytes(Location(bucket, "model/config.json"), b"{}")
    await store.put_bytes(Location(bucket, "model/model.safetensors"), b"weights")
    return InputSources(
        model=f"s3://{bucket}/model", dataset=(f"s3://{bucket}/data.jsonl",), output=f"s3://{bucket}/garden"
    )


@pytest.mark.parametrize(
    ("key", "content"),
    [("data.jsonl", b"[]"), ("model/model.safetensors", b"others"), ("model/tokenizer.json", b"{}")],
    ids=["the dataset", "the weights", "a new file of the model"],
)
async def test_the_fingerprint_changes_with(
    store: Store, bucket: str, sources: InputSources, key: str, content: bytes
) -> None:
    before = await Inputs().fingerprint(store, sources)
    assert await Inputs().fingerprint(store, sources) == before

    await store.put_bytes(Location(bucket, key), content)

    assert await Inputs().fingerprint(store, sources) != before


@pytest.mark.parametrize(
    ("absent", "want_reason"),
    [("data.jsonl", "DatasetNotFound"), ("model/config.json", "ModelNotFound")],
)
async def test_an_input_that_is_not_there_is_told(
    store: Store, bucket: str, objects: S3Client, sources: InputSources, absent: str, want_reason: str
) -> None:
    objects.delete_object(Bucket=bucket, Key=absent)

    with pytest.raises(Missing) as missing:
        await Inputs().fingerprint(store, sources)

    assert missing.value.reason == want_reason
    assert absent in missing.value.message


async def test_a_source_is_a_run_or_a_folder(store: Store, bucket: str, sources: InputSources) -> None:
    candidate = await finished_run(store, bucket, "job")
    done = await register(store, candidate, now=NOW)
    lookups = Lookups()

    run = await resolve_source(store, str(candidate.folder), lookups=lookups)
    same = await resolve_source(store, done.artifact.uri, lookups=lookups)
    folder = await resolve_source(store, sources.model, lookups=lookups)

    assert (run.uri, run.sha256) == (done.artifact.uri, done.manifest_sha256)
    assert (same.uri, same.sha256) == (run.uri, run.sha256)
    assert (folder.uri, folder.manifest) == (sources.model, None)
    with pytest.raises(Missing) as missing:
        await resolve_source(store, f"s3://{bucket}/nothing", lookups=lookups)
    assert missing.value.reason == "ModelNotFound"


async def test_a_folder_has_the_digest_that_the_serving_pod_finds(store: Store, bucket: str) -> None:
    """Both sides list the folder; ETags are compared without quotes, folder markers do not count."""
    await store.put_bytes(Location(bucket, "model/config.json"), b"{}")
    await store.put_bytes(Location(bucket, "model/parts/a.bin"), b"abc")
    etags = {b"{}": "99914b932bd37a50b983c5e7c90ae93b", b"abc": "900150983cd24fb0d6963f7d28e17f72"}

    digest = await folder_digest(store, Location(bucket, "model"))

    assert digest == listing_digest([("config.json", etags[b"{}"], 2), ("parts/a.bin", etags[b"abc"], 3)])

"""The registry and a FineTuneJob on GCS, by the operator's own client."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from modelgarden.api.access import GcsStorage, Storage
from modelgarden.api.artifact import FileEntry, RunIdentity
from modelgarden.api.layout import LATEST, MANIFEST, MERGED_DIR, Location, alias_key, run_uri
from modelgarden.api.pods import PodStorage, TerminationMessage
from modelgarden.registry.artifacts import Candidate, find
from modelgarden.registry.errors import Missing, Refused, Unavailable
from modelgarden.registry.inputs import Inputs, InputSources, folder_digest
from modelgarden.registry.store import Store
from modelgarden.registry.stores import Stores
from modelgarden.registry.versions import allocate, move_alias
from modelgarden_pod.folder import Folder
from modelgarden_pod.storage import open_folder
from tests.integration.harness.api import condition, phase
from tests.integration.harness.garden import ROWS, Garden
from tests.integration.harness.gcs import GcsServer
from tests.integration.harness.node import FakeNode
from tests.integration.harness.waiting import wait_for
from tests.unit.builders import make_dataset, make_dataset_report, make_emissions, make_manifest

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


@pytest.fixture
def stores() -> Iterator[Stores]:
    opened = Stores(threads=8)
    yield opened
    opened.close()


@pytest.fixture
def store(stores: Stores, gcs: GcsServer) -> Store:
    return stores.for_storage(Storage(gcs=GcsStorage(endpoint=gcs.endpoint)), None)


@pytest.fixture
def bucket(gcs: GcsServer) -> str:
    return gcs.create_bucket(f"bucket-{uuid.uuid4().hex[:10]}")


async def finished_run(store: Store, bucket: str, name: str) -> Candidate:
    run = RunIdentity(namespace="team", name=name, uid=f"uid-of-{name}")
    candidate = Candidate(run=run, output_uri=f"gs://{bucket}/garden", model_name="bot")
    weights = f"weights of {name}".encode()
    entry = FileEntry(
        path="artifact/merged/model.safetensors",
        sha256=hashlib.sha256(weights).hexdigest(),
        bytes=len(weights),
    )
    await store.put_bytes(candidate.folder.child(entry.path), weights)
    content = make_manifest(run=run, files=(entry,)).model_dump_json(by_alias=True)
    await store.put_bytes(candidate.folder.child(MANIFEST), content.encode())
    return candidate


async def test_jobs_that_end_together_get_distinct_versions_and_the_last_is_latest(
    store: Store, bucket: str
) -> None:
    candidates = [await finished_run(store, bucket, f"job-{number}") for number in range(12)]

    async def register(candidate: Candidate) -> int:
        done = await move_alias(
            store, await allocate(store, await find(store, candidate), now=NOW), alias=LATEST
        )
        return done.artifact.version

    versions = await asyncio.gather(*(register(one) for one in candidates))

    assert sorted(versions) == list(range(1, 13))
    alias = await store.get_bytes(candidates[0].model.child(alias_key(LATEST)))
    assert alias is not None
    assert json.loads(alias)["version"] == 12
    assert await register(candidates[3]) == versions[3], "a run has one version"


async def test_a_write_on_a_condition_is_refused_where_it_does_not_hold(store: Store, bucket: str) -> None:
    place = Location(bucket, "one", "gs")
    assert await store.put_bytes(place, b"1", if_none_match=True)
    assert not await store.put_bytes(place, b"2", if_none_match=True)
    found = await store.get_tagged(place)
    assert found is not None
    assert await store.put_bytes(place, b"3", if_match=found[1])
    assert not await store.put_bytes(place, b"4", if_match=found[1])
    assert await store.get_bytes(place) == b"3"
    assert await store.get_bytes(Location(bucket, "none", "gs")) is None


async def test_a_missing_bucket_is_told_apart_from_a_missing_object(store: Store, bucket: str) -> None:
    assert await store.head(Location(bucket, "none", "gs")) is None
    nowhere = Location("no-such-bucket", "key", "gs")
    for request in (
        lambda: store.require_bucket(nowhere),
        lambda: store.head(nowhere),
        lambda: store.put_bytes(nowhere, b""),
        lambda: store.list_keys(nowhere),
    ):
        with pytest.raises(Missing, match="gs://no-such-bucket") as missing:
            await request()
        assert missing.value.reason == "BucketNotFound"


async def test_inputs_are_looked_at_as_in_s3(store: Store, bucket: str, gcs: GcsServer) -> None:
    folder = pods_folder(gcs, bucket)
    folder.write("data/a.jsonl", b"{}")
    folder.write("model/config.json", b"{}")
    sources = InputSources(
        model=f"gs://{bucket}/model", dataset=(f"gs://{bucket}/data/*.jsonl",), output=f"gs://{bucket}/garden"
    )

    before = await Inputs().fingerprint(store, sources)
    assert await Inputs().fingerprint(store, sources) == before
    folder.write("data/a.jsonl", b"{}")

    assert await Inputs().fingerprint(store, sources) != before
    listed = await folder_digest(store, Location(bucket, "model", "gs"))
    assert listed == pods_listing(folder.child("model")), "operator and pods read a listing alike"
    with pytest.raises(Missing) as missing:
        await Inputs().fingerprint(
            store, InputSources(sources.model, (f"gs://{bucket}/none",), sources.output)
        )
    assert missing.value.reason == "DatasetNotFound"


async def test_a_server_that_is_away_is_waited_for(stores: Stores) -> None:
    away = stores.for_storage(Storage(gcs=GcsStorage(endpoint="http://127.0.0.1:1")), None)

    with pytest.raises(Unavailable, match="GCS does not answer"):
        await away.head(Location("bucket", "key", "gs"))


def test_a_secret_without_a_key_of_a_service_account_is_refused(stores: Stores, gcs: GcsServer) -> None:
    storage = Storage(gcs=GcsStorage(endpoint=gcs.endpoint))
    for value, words in (
        ("", "lacks GOOGLE_CREDENTIALS"),
        ('{"type": "external_account", "private_key": "canary"}', "no key of a service account"),
    ):
        data = {"GOOGLE_CREDENTIALS": base64.b64encode(value.encode()).decode()} if value else {}
        with pytest.raises(Refused, match=words) as refused:
            stores.for_storage(storage, None, {"metadata": {"name": "gcs"}, "data": data})
        assert refused.value.reason == "SecretInvalid"
        assert "canary" not in refused.value.message


def pods_folder(gcs: GcsServer, bucket: str) -> Folder:
    return open_folder(f"gs://{bucket}", PodStorage(gcs_endpoint=gcs.endpoint))


def pods_listing(folder: Folder) -> str:
    from modelgarden.api.layout import listing_digest

    return listing_digest((file.name, file.etag or "", file.bytes) for file in folder.list())


@pytest.mark.usefixtures("operator")
def test_a_job_in_gcs_becomes_a_version(garden: Garden, gcs: GcsServer, node: FakeNode) -> None:
    bucket = gcs.create_bucket(garden.namespace)
    root = pods_folder(gcs, bucket)
    root.write("data.jsonl", "\n".join(json.dumps(row) for row in ROWS).encode())
    root.write("model/config.json", b"{}")
    job = garden.create_finetunejob(
        "bot",
        model={"source": f"gs://{bucket}/model"},
        dataset={"source": f"gs://{bucket}/data.jsonl"},
        output={"uri": f"gs://{bucket}/garden", "modelName": "bot"},
        storage={"gcs": {"endpoint": gcs.endpoint}},
    )
    run = RunIdentity(namespace=garden.namespace, name="bot", uid=job["metadata"]["uid"])
    folder = root.child(run_uri("garden", namespace=run.namespace, job=run.name, uid=run.uid))

    node.run("bot-prepare")
    folder.write("dataset/report.json", make_dataset_report().model_dump_json(by_alias=True).encode())
    node.succeed(
        "bot-prepare", TerminationMessage(reason="DatasetReady", message="100 rows.", dataset=make_dataset())
    )
    pod = node.wait_for_pod("bot-train")
    config = next(
        one["value"] for one in pod["spec"]["containers"][0]["env"] if one["name"] == "MODELGARDEN_CONFIG"
    )
    assert json.loads(config)["schemaVersion"] == "5.0"
    assert json.loads(config)["storage"]["gcsEndpoint"] == gcs.endpoint
    node.run("bot-train")
    entry = folder.write(f"{MERGED_DIR}/model.safetensors", b"weights")
    manifest = make_manifest(
        run=run,
        model_name="bot",
        files=(entry,),
        emissions=make_emissions({"only": 7200}, reason="Completed"),
    )
    content = folder.write(MANIFEST, manifest.model_dump_json(by_alias=True).encode())
    node.succeed(
        "bot-train",
        TerminationMessage(reason="Completed", message="Trained.", manifest_sha256=content.sha256),
    )

    wait_for(lambda: phase(garden.finetunejob("bot")) == "Complete", 30, what="the job's end")
    done = garden.finetunejob("bot")
    assert condition(done, "ArtifactRegistered")["status"] == "True"
    assert done["status"]["artifact"]["uri"] == f"{folder.uri}/{MANIFEST}"
    latest = json.loads(root.read(f"garden/models/{garden.namespace}/bot/aliases/latest.json"))
    assert latest["manifest"] == f"{folder.uri}/{MANIFEST}"

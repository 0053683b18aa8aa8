"""GCS as pods see it, against a server that speaks its JSON API through Google's own client."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest

from modelgarden.api.artifact import Manifest
from modelgarden.api.documents import TRAIN_IMAGE
from modelgarden.api.layout import MANIFEST
from modelgarden.api.pods import PodStorage
from modelgarden_pod.errors import CorruptObject, ObjectNotFound, TemporaryError, UserError
from modelgarden_pod.folder import Folder
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage import open_folder
from tests.integration.harness.gcs import GcsServer
from tests.integration.harness.waiting import wait_for
from tests.integration.trainer_process import (
    TrainerProcess,
    make_config,
    make_rows,
    tiny_model,
    trainer_python,
)

LARGE = 70 * 2**20


@pytest.fixture
def storage(gcs: GcsServer) -> PodStorage:
    return PodStorage(gcs_endpoint=gcs.endpoint)


@pytest.fixture
def bucket(gcs: GcsServer) -> str:
    return gcs.create_bucket(f"bucket-{uuid.uuid4().hex[:10]}")


@pytest.fixture
def folder(storage: PodStorage, bucket: str) -> Folder:
    return open_folder(f"gs://{bucket}/run", storage, patience=Patience(total=5))


def test_small_files_are_written_listed_read_and_deleted(folder: Folder, gcs: GcsServer, bucket: str) -> None:
    for name in ("b.json", "a/x+y=z", "a/b/c"):
        folder.write(name, name.encode())
    gcs.client.bucket(bucket).blob("run/a/").upload_from_string(b"")  # as the console makes folders

    assert [(file.name, file.bytes) for file in folder.list()] == [
        ("a/b/c", 5),
        ("a/x+y=z", 7),
        ("b.json", 6),
    ]
    assert folder.uri.startswith("gs://bucket-")
    assert folder.child("a").read("x+y=z") == b"a/x+y=z"
    found = folder.stat("b.json")
    assert found is not None
    assert found == replace(folder.list()[2], sha256=found.sha256)
    assert found.sha256 == folder.write("b.json", b"b.json").sha256
    again = folder.stat("b.json")
    assert again is not None
    assert again.etag != found.etag, "each write has an entity tag of its own"
    folder.delete(["b.json", "a/b/c", "gone already"])
    assert [file.name for file in folder.list()] == ["a/x+y=z"]
    assert folder.stat("b.json") is None
    with pytest.raises(ObjectNotFound):
        folder.read("b.json")


def test_large_files_keep_their_digest_and_ranges(folder: Folder, tmp_path: Path) -> None:
    source = tmp_path / "weights"
    source.write_bytes(bytes(range(256)) * (LARGE // 256))  # more than one request

    entry = folder.upload(source, "weights")

    found = folder.stat("weights")
    assert found is not None
    assert (found.sha256, found.bytes) == (entry.sha256, LARGE)
    folder.download("weights", tmp_path / "back", sha256=entry.sha256)
    assert folder.read_range("weights", start=2**20 + 5, length=3, etag=found.etag) == b"\x05\x06\x07"
    with pytest.raises(CorruptObject):
        folder.download("weights", tmp_path / "back", sha256="0" * 64)
    copied = folder.child("beside")
    copied.copy_from(folder.uri, entry)
    assert copied.stat("weights") == replace(found, etag=ANY)
    assert copied.download("weights", tmp_path / "copied") == entry.sha256


def test_a_range_is_of_the_version_that_was_listed(folder: Folder) -> None:
    folder.write("weights", b"first version")
    (listed,) = folder.list()
    folder.write("weights", b"other version")

    with pytest.raises(ObjectNotFound):
        folder.read_range("weights", start=0, length=5, etag=listed.etag)


def test_errors_say_what_is_wrong(storage: PodStorage, folder: Folder) -> None:
    assert folder.stat("nothing") is None
    missing = open_folder("gs://no-such-bucket/x", storage)
    for action in (
        lambda: missing.stat("y"),
        lambda: missing.list(),
        lambda: missing.write("y", b""),
    ):
        with pytest.raises(UserError) as raised:
            action()
        assert raised.value.reason == "BucketNotFound"


def test_without_endpoint_and_key_no_credentials_is_no_riddle(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "NO_GCE_CHECK", "true"
    )  # else the client looks for the metadata server of a machine of Google's
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)

    with pytest.raises(UserError, match=r"storage\.gcs\.credentialsSecretRef") as raised:
        open_folder(f"gs://{bucket}/x", PodStorage())

    assert raised.value.reason == "AccessDenied"


@pytest.mark.parametrize("value", ["AKIAEXAMPLE", '{"type": "external_account"}'])
def test_what_is_no_key_is_refused_before_any_request(
    value: str, storage: PodStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_CREDENTIALS", value)

    with pytest.raises(UserError, match="GOOGLE_CREDENTIALS") as raised:
        open_folder("gs://bucket/x", storage)

    assert raised.value.reason == "SecretInvalid"
    assert value not in raised.value.message


def test_an_outage_is_waited_out_or_told(tmp_path: Path) -> None:
    server = GcsServer(tmp_path)
    patience = Patience(total=60)
    folder = open_folder("gs://bucket/x", PodStorage(gcs_endpoint=server.endpoint), patience=patience)
    with pytest.raises(TemporaryError, match=r"storage\.objects\.get on gs://bucket/x/file failed for 1 s"):
        folder.with_patience(1).read("file")
    patience.outage.message = None
    try:
        with ThreadPoolExecutor(1) as threads:
            written = threads.submit(folder.write, "file", b"content")
            wait_for(lambda: patience.outage.message, what="the outage to be noticed")
            server.start()
            # The server that came up has no buckets, which is an answer.
            with pytest.raises(UserError) as raised:
                written.result(60)
    finally:
        server.stop()

    assert raised.value.reason == "BucketNotFound"


def test_what_is_no_gcs_is_taken_for_an_outage(folder: Folder, s3_endpoint: str) -> None:
    """As of S3: an ingress whose service restarts answers just so."""
    strange = open_folder("gs://bucket/x", PodStorage(gcs_endpoint=s3_endpoint), patience=Patience(total=1))

    with pytest.raises(TemporaryError, match="is no GCS service"):
        strange.list()


@pytest.fixture
def s3_endpoint(request: pytest.FixtureRequest) -> str:
    endpoint: str = request.getfixturevalue("s3").endpoint
    return endpoint


def test_a_run_has_all_of_its_data_in_gcs(folder: Folder, gcs: GcsServer, tmp_path: Path) -> None:
    """The trainer as a process, from rows and base model to the manifest."""
    for path in tiny_model().iterdir():
        folder.upload(path, f"model/{path.name}")
    folder.write("rows.jsonl", "".join(f"{json.dumps(row)}\n" for row in make_rows()).encode())
    config = make_config(
        run_uri=f"{folder.uri}/run",
        model=f"{folder.uri}/model",
        dataset=f"{folder.uri}/*.jsonl",
        storage={"gcsEndpoint": gcs.endpoint},
    )

    for command in ("prepare", "train"):
        ended = TrainerProcess(trainer_python(), tmp_path / command, config, attempt=command).run(command)
        assert ended.exit_code == 0, ended.log

    run = folder.child("run")
    manifest = Manifest.read(run.read(MANIFEST), reader=TRAIN_IMAGE)
    stored = {file.name: file.bytes for file in run.list()}
    assert manifest.files
    assert all(stored[file.path] == file.bytes for file in manifest.files)
    weights = next(file for file in manifest.files if file.path.endswith("merged/model.safetensors"))
    assert run.download(weights.path, tmp_path / "weights") == weights.sha256

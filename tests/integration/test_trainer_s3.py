"""The trainer against a real S3 server: eviction, a crash, an outage, and what the next attempt makes of it."""

from __future__ import annotations

import hashlib
import json
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from hack.cluster import S3Server
from modelgarden.api.artifact import DatasetReport, Manifest, RunIdentity
from modelgarden.api.curve import TrainingCurve
from modelgarden.api.documents import TRAIN_IMAGE
from modelgarden.api.emissions import AttemptEmissions, emissions_milligrams
from modelgarden.api.finetunejob import Parent, TrackerStatus
from modelgarden.api.layout import DATASET_REPORT
from modelgarden.api.pods import PodStorage
from modelgarden_pod.errors import CorruptObject, TemporaryError, UserError
from modelgarden_pod.folder import Folder
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage import open_folder
from modelgarden_train.data.prepared import fetch_prepared
from tests.integration.harness.waiting import wait_for
from tests.integration.trainer_process import (
    START_SECONDS,
    TrainerProcess,
    has_loaded,
    lives,
    make_config,
    make_rows,
    printed_by,
    tiny_model,
    trainer_python,
)

BUCKET = "trainer"
TENSORBOARD_PROBE = Path(__file__).with_name("tensorboard_probe.py")


@pytest.fixture
def storage(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> PodStorage:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_key)
    (s3.data / BUCKET).mkdir(exist_ok=True)
    return PodStorage(endpoint=s3.endpoint, region=s3.access.region)


@pytest.fixture
def folder(storage: PodStorage, request: pytest.FixtureRequest) -> Folder:
    return open_folder(f"s3://{BUCKET}/{request.node.name}", storage, patience=Patience(total=5))


@dataclass
class Job:
    """One run in S3, whatever attempts it takes."""

    python: Path
    root: Path
    folder: Folder
    config: dict[str, Any]

    def attempt(self, name: str) -> TrainerProcess:
        """Return the next attempt: a pod of its own, with an empty workspace."""
        return TrainerProcess(self.python, self.root / name, self.config, attempt=name)

    def beside(self, uid: str, **fields: Any) -> Job:
        """Return another job on the same inputs."""
        folder = self.folder.child(f"beside-{uid}")
        config = self.config | {"run": self.config["run"] | {"uid": uid}, "runUri": folder.uri} | fields
        return Job(self.python, self.root, folder, config)


@pytest.fixture
def job(folder: Folder, storage: PodStorage, tmp_path: Path) -> Job:
    for path in tiny_model().iterdir():
        folder.upload(path, f"model/{path.name}")
    rows = "".join(f"{json.dumps(row)}\n" for row in make_rows())
    folder.write("rows.jsonl", rows.encode())
    config = make_config(
        run_uri=f"{folder.uri}/run",
        model=f"{folder.uri}/model",
        dataset=f"{folder.uri}/rows.jsonl",
        storage={"endpoint": storage.endpoint, "region": storage.region},
        trackers={"tensorboard": {}},
        training={
            "epochs": 24,
            "learningRate": 5e-3,
            "effectiveBatchSize": 32,
            "maxSequenceLength": 64,
            "lora": {"rank": 8, "alpha": 16},
        },
    )
    return Job(trainer_python(), tmp_path / "attempts", folder.child("run"), config)


def test_a_run_outlives_eviction_crash_and_outage(job: Job, s3: S3Server, tmp_path: Path) -> None:
    """Attempt 1 gets SIGTERM, attempt 2 is killed, S3 goes away under attempt 3."""
    prepared = job.attempt("prepare").run("prepare")
    assert prepared.exit_code == 0, prepared.log

    evicted = job.attempt("evicted")
    evicted.start("train")
    wait_for(lambda: evicted.reached(20), START_SECONDS, what="the first checkpoint")
    check_processes(evicted)
    before = evicted.report()
    evicted.send(signal.SIGTERM)
    ended = evicted.wait(60)
    assert ended.exit_code == 143, ended.log
    saved = newest_checkpoint(job.folder)
    assert before is not None
    assert saved >= before.progress.step

    killed = job.attempt("killed")
    killed.start("train")
    wait_for(lambda: killed.reached(saved + 1), START_SECONDS, what="a checkpoint after the resumption")
    resumed = killed.report()
    assert resumed is not None
    assert resumed.progress.resumed_from_step == saved
    (worker,) = killed.workers()
    killed.send(signal.SIGKILL)
    killed.wait(30)
    wait_for(lambda: not lives(worker), 30, what="the worker to end with its supervisor")
    kept = newest_checkpoint(job.folder)
    # An upload that was cut off: files without the marker.
    job.folder.write(f"checkpoints/{kept + 7}/adapter_model.safetensors", b"half of it")

    finishing = job.attempt("finishing")
    finishing.start("train")
    wait_for(lambda: finishing.reached(kept + 1), START_SECONDS, what="training to go on")
    report = finishing.report()
    assert report is not None
    assert report.trackers == (TrackerStatus(name="TensorBoard", url=f"{job.folder.uri}/tensorboard"),)
    assert report.progress.resumed_from_step == kept
    s3.stop()
    try:
        step = report.progress.step
        wait_for(lambda: steps(finishing) > step + 5, 60, what="training to go on without S3")
        wait_for(lambda: outage(finishing) is not None, 60, what="the outage to be reported")
    finally:
        s3.start()
    ended = finishing.wait(START_SECONDS)
    assert ended.exit_code == 0, ended.log
    assert ended.message.trackers == report.trackers

    manifest = Manifest.model_validate_json(job.folder.read("manifest.json"))
    assert ended.message.manifest_sha256 == hashlib.sha256(job.folder.read("manifest.json")).hexdigest()
    check_files(job.folder, manifest)
    check_emissions(job.folder, manifest)
    check_curve(job.folder, manifest)
    check_tensorboard(job.folder, tmp_path / "tensorboard")


def test_storage_errors_say_what_is_wrong(storage: PodStorage, folder: Folder) -> None:
    assert folder.stat("nothing") is None
    for action, want in (
        (lambda: open_folder("s3://no-such-bucket/x", storage).stat("y"), "BucketNotFound"),
        (lambda: open_folder("s3://no-such-bucket/x", storage).list(), "BucketNotFound"),
        (lambda: open_folder("s3://no-such-bucket/x", storage).write("y", b""), "BucketNotFound"),
    ):
        with pytest.raises(UserError) as raised:
            action()
        assert raised.value.reason == want


def test_wrong_credentials_are_denied(storage: PodStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")

    with pytest.raises(UserError) as raised:
        open_folder(f"s3://{BUCKET}/x", storage).read("y")

    assert raised.value.reason == "AccessDenied"


def test_an_outage_is_waited_out_or_told(
    storage: PodStorage, s3: S3Server, request: pytest.FixtureRequest
) -> None:
    patience = Patience(total=60)
    folder = open_folder(f"s3://{BUCKET}/{request.node.name}", storage, patience=patience)
    folder.write("file", b"content")
    s3.stop()
    try:
        with pytest.raises(TemporaryError, match="s3:GetObject on"):
            folder.with_patience(1).read("file")
        patience.outage.message = None
        with ThreadPoolExecutor(1) as threads:
            read = threads.submit(folder.read, "file")
            wait_for(lambda: patience.outage.message, what="the outage to be noticed")
            s3.start()
            assert read.result(60) == b"content"
    finally:
        s3.start()

    assert patience.outage.message is None


def test_large_files_keep_their_digest_and_ranges(folder: Folder, tmp_path: Path) -> None:
    source = tmp_path / "weights"
    block = bytes(range(256)) * 4096
    source.write_bytes(block * 70)  # more than one part

    entry = folder.upload(source, "weights")

    found = folder.stat("weights")
    assert found is not None
    assert (found.sha256, found.bytes) == (entry.sha256, 70 * 2**20)
    folder.download("weights", tmp_path / "back", sha256=entry.sha256)
    assert folder.read_range("weights", start=2**20 + 5, length=3, etag=found.etag) == b"\x05\x06\x07"
    with pytest.raises(CorruptObject):
        folder.download("weights", tmp_path / "back", sha256="0" * 64)
    copied = folder.child("beside")
    copied.copy_from(folder.uri, entry)
    assert copied.stat("weights") == replace(found, etag=ANY)
    assert copied.download("weights", tmp_path / "copied") == entry.sha256
    folder.delete(["weights", "beside/weights"])
    assert folder.list() == []


def test_runs_share_what_one_has_prepared(job: Job) -> None:
    job.config["datasetsUri"] = f"{job.folder.uri}/datasets/default"
    first = job.attempt("first").run("prepare")
    assert first.exit_code == 0, first.log
    other = job.beside("other", training=job.config["training"] | {"learningRate": 1e-4, "epochs": 1})

    second = other.attempt("second").run("prepare")

    assert second.exit_code == 0, second.log
    assert "The same rows were prepared before" in second.log
    assert '"stage": "Preparing"' not in second.log
    assert first.message.dataset is not None
    assert second.message.dataset is not None
    assert second.message.dataset.prepared_by == "count"
    assert second.message.dataset.digest == first.message.dataset.digest
    assert second.message.dataset.report == f"{other.folder.uri}/dataset/report.html"
    fetched = fetch_prepared(other.folder, scratch=job.root)
    assert fetched.report.shared_from == RunIdentity(namespace="default", name="count", uid="run-1")
    assert fetched.report.sources == DatasetReport.read(job.folder.read(DATASET_REPORT), reader="").sources

    # Each run has files of its own, and what is shared is what it was.
    job.folder.delete([entry.path for entry in fetched.report.files])
    third = job.beside("third").attempt("third").run("prepare")
    assert third.message.dataset is not None
    assert third.message.dataset.prepared_by == "count"


def test_rows_are_prepared_anew_where_something_differs_or_lacks(job: Job) -> None:
    job.config["datasetsUri"] = f"{job.folder.uri}/datasets/default"
    assert job.attempt("first").run("prepare").exit_code == 0
    (shared,) = [file.name for file in job.folder.list() if file.name.endswith("/dataset/train.parquet")]

    seed = job.beside("seed", training=job.config["training"] | {"seed": 1})
    assert prepared_by(seed) is None
    job.folder.delete([shared])
    assert prepared_by(job.beside("lacking")) is None
    assert prepared_by(job.beside("whole")) == "count", "what was lacking is there again"
    job.folder.write(shared, b"spoilt")
    assert prepared_by(job.beside("spoilt")) is None


def test_sources_that_are_listed_as_before_are_not_read_again(job: Job, folder: Folder, s3: S3Server) -> None:
    job.config["datasetsUri"] = f"{job.folder.uri}/datasets/default"
    assert job.attempt("first").run("prepare").exit_code == 0
    stored = s3.data / folder.uri.removeprefix("s3://") / "rows.jsonl"
    before = stored.read_bytes()
    with stored.open("r+b") as file:  # below the server, which keeps its ETag: whoever reads it finds no rows
        file.write(b"x" * len(before))

    assert prepared_by(job.beside("unread")) == "count"

    ended = (
        job.beside("reading", training=job.config["training"] | {"seed": 1}).attempt("reading").run("prepare")
    )
    assert ended.message.reason == "DatasetInvalid", "other settings are prepared from the sources"
    folder.write("rows.jsonl", before[: before.rindex(b"\n", 0, -1) + 1])
    assert prepared_by(job.beside("changed")) is None


def trained(job: Job) -> tuple[Manifest, str]:
    """Prepare and train; return the manifest with its SHA-256."""
    for command in ("prepare", "train"):
        ended = job.attempt(f"{command}-{job.config['run']['uid']}").run(command)
        assert ended.exit_code == 0, ended.log
    body = job.folder.read("manifest.json")
    return Manifest.read(body, reader=TRAIN_IMAGE), hashlib.sha256(body).hexdigest()


def test_a_run_trains_on_from_the_merge_of_another(job: Job) -> None:
    short = {"training": job.config["training"] | {"epochs": 2}, "formats": ["Merged16Bit"]}
    earlier = job.beside("earlier", **short)
    first, digest = trained(earlier)
    parent = Parent(
        uri=f"{earlier.folder.uri}/manifest.json",
        manifest_sha256=digest,
        model_name="count",
        version=1,
        job="count",
        source=f"{earlier.folder.uri}/artifact/merged",
        root=first.root,
    )

    second, _ = trained(job.beside("later", **short, modelSource=parent.source, parent=parent.to_dict()))

    assert second.parent == parent
    assert second.root == first.base_model
    assert second.base_model.source == parent.source
    # It begins where the other one has ended.
    found, began = (one.evaluation.metrics[0] for one in (first, second))
    assert float(began.base.value) == pytest.approx(float(found.tuned.value), rel=0.02)
    assert float(began.tuned.value) < float(began.base.value)
    card = job.folder.child("beside-later").read("README.md").decode()
    assert (
        f"Trained on from count version 1, made by the FineTuneJob default/count (manifest `{parent.uri}`"
        in card
    )


def test_a_run_that_may_not_share_prepares_for_itself(job: Job) -> None:
    job.config["datasetsUri"] = "s3://no-such-bucket/datasets"

    ended = job.attempt("only").run("prepare")

    assert ended.exit_code == 0, ended.log
    assert "The prepared rows are not shared" in ended.log
    assert ended.message.dataset is not None
    assert ended.message.dataset.prepared_by is None


def prepared_by(job: Job) -> str | None:
    ended = job.attempt(job.config["run"]["uid"]).run("prepare")
    assert ended.exit_code == 0, ended.log
    assert ended.message.dataset is not None
    return ended.message.dataset.prepared_by


def check_processes(process: TrainerProcess) -> None:
    """PyTorch is in the worker alone, and the credentials are the supervisor's alone."""
    (worker,) = process.workers()
    assert has_loaded(worker, "libtorch_cpu")
    assert not has_loaded(process.pid, "libtorch_cpu")
    assert "AWS_SECRET_ACCESS_KEY=" in Path(f"/proc/{process.pid}/environ").read_text()
    assert "AWS_SECRET_ACCESS_KEY=" not in Path(f"/proc/{worker}/environ").read_text()


def newest_checkpoint(folder: Folder) -> int:
    """Return the step of the newest complete checkpoint."""
    names = [file.name for file in folder.child("checkpoints").list()]
    return max(int(name.split("/")[0]) for name in names if name.endswith("/checkpoint.json"))


def steps(process: TrainerProcess) -> int:
    """Return the steps done."""
    report = process.report()
    return report.progress.step if report else 0


def outage(process: TrainerProcess) -> str | None:
    """Return what the pod says of its storage."""
    report = process.report()
    return report.outage if report else None


def check_files(folder: Folder, manifest: Manifest) -> None:
    """Hold every file against the manifest: its content and its metadata."""
    for entry in manifest.files:
        found = folder.stat(entry.path)
        assert found is not None
        assert (found.bytes, found.sha256) == (entry.bytes, entry.sha256)
        assert hashlib.sha256(folder.read(entry.path)).hexdigest() == entry.sha256
    assert set(manifest.formats) == {"Adapter", "Merged16Bit"}


def check_emissions(folder: Folder, manifest: Manifest) -> None:
    """The manifest counts all attempts, as their own records say, and the sums can be redone."""
    total = manifest.emissions
    assert [(one.id, one.reason) for one in total.attempts] == [
        ("evicted", "Terminated"),
        ("killed", "Lost"),
        ("finishing", "Completed"),
    ]
    for one in total.attempts[:2]:
        own = AttemptEmissions.read(folder.read(f"emissions/{one.id}.json"), reader=TRAIN_IMAGE)
        assert one.energy_joules == own.energy_joules
        assert one.energy_joules.total > 0
    energy = total.energy_joules
    assert energy.total == energy.cpu + energy.ram == sum(one.energy_joules.total for one in total.attempts)
    assert total.intensity is not None
    assert total.emissions_milligrams == emissions_milligrams(
        energy.total, pue_milli=1200, milligrams_per_kwh=total.intensity.milligrams_per_kwh
    )
    assert total.state == "Estimated"
    assert len(folder.read("emissions.jsonl").splitlines()) == 3


def check_curve(folder: Folder, manifest: Manifest) -> None:
    """The curve is of the whole run, whichever attempt took a step: the trainer takes the loss of each of its steps."""
    curve = TrainingCurve.read(folder.read("curve.json"), reader=TRAIN_IMAGE)
    steps = int(manifest.hyperparameters["steps"])
    assert [point.step for point in curve.points] == list(range(steps + 1))
    assert all(point.loss for point in curve.points[1:])


def check_tensorboard(folder: Folder, target: Path) -> None:
    """TensorBoard itself reads the attempts' files as one run that has each step once, with the losses of the curve."""
    files = folder.child("tensorboard")
    for file in files.list():
        files.download(file.name, target / file.name)
    read = printed_by(TENSORBOARD_PROBE, str(target), folder=target.parent / "probe")
    curve = TrainingCurve.read(folder.read("curve.json"), reader=TRAIN_IMAGE).points
    assert len(files.list()) == 3
    assert [step for step, _ in read["train/loss"]] == [point.step for point in curve[1:]]
    assert [loss for _, loss in read["train/loss"]] == pytest.approx([point.loss for point in curve[1:]])
    assert [step for step, _ in read["validation/loss"]] == [0, curve[-1].step]
    assert read["energy/kwh"][0][1] > 0
    assert [epoch for _, epoch in read["train/epoch"]] == sorted(epoch for _, epoch in read["train/epoch"])
    assert {"train/learning_rate", "train/gradient_norm", "train/tokens_per_second"} <= read.keys()

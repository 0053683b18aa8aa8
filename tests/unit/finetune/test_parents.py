"""The earlier result that a FineTuneJob trains on, by what is seen of other jobs and of the registry."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from modelgarden.api.artifact import FileEntry, Manifest, RunIdentity, VersionRecord
from modelgarden.api.conditions import Problem
from modelgarden.api.finetunejob import BaseModelRecord, Parent
from modelgarden.api.layout import Location
from modelgarden.finetune.parents import Parents
from modelgarden.finetune.subject import Subject
from modelgarden.kube.resources import Resource
from modelgarden.registry.errors import Unavailable
from modelgarden.registry.objects import ObjectInfo
from tests.unit.builders import DIGEST, make_manifest, make_parent, make_subject, stamp

RUN = "s3://garden/root/runs/team/first/uid-of-first"
MODEL = "s3://garden/root/models/team/bot"
WEIGHTS = FileEntry(path="artifact/merged/model.safetensors", sha256=DIGEST, bytes=4096)
BESIDE = FileEntry(path="evaluation.json", sha256=DIGEST, bytes=7)
ADAPTER = FileEntry(path="artifact/adapter/adapter_model.safetensors", sha256=DIGEST, bytes=7)
BASE = BaseModelRecord(source="hf://org/name", revision="0123abc", digest=DIGEST)
ANOTHER = "Restore it, or create a new FineTuneJob that names another version."
BY_JOB = {"fineTuneJobRef": {"name": "first"}}
LATEST = {"registry": {"name": "bot", "alias": "latest"}}

Job = Mapping[str, Any]


def manifest_of(**fields: Any) -> Manifest:
    run = RunIdentity(namespace="team", name="first", uid="uid-of-first")
    return make_manifest(**{"run": run, "base_model": BASE, "files": (WEIGHTS, BESIDE), **fields})


def sha256_of(manifest: Manifest) -> str:
    return hashlib.sha256(manifest.model_dump_json(by_alias=True).encode()).hexdigest()


def record_of(made: Manifest, **fields: Any) -> VersionRecord:
    known: dict[str, Any] = {
        "version": 3, "model_name": "bot", "run": made.run, "manifest": f"{RUN}/manifest.json",
        "manifest_sha256": sha256_of(made), "created_at": stamp(),
    }  # fmt: skip
    return VersionRecord(**(known | fields))


@dataclass
class Storage:
    """S3 with one run in it, and what its registry says of it."""

    manifest: Manifest = field(default_factory=manifest_of)
    record: VersionRecord | None = None
    away: bool = False
    asked: list[str] = field(default_factory=list)
    lost: tuple[str, ...] = ()
    """What is not there, though it should be."""
    contents: dict[str, bytes] = field(default_factory=dict)
    """What is there in the place of what should be."""

    def __hash__(self) -> int:
        return id(self)

    async def get_bytes(self, place: Location) -> bytes | None:
        """Return manifest or record."""
        self.asked.append(str(place))
        if self.away:
            raise Unavailable("s3.test does not answer")
        record = self.record or record_of(self.manifest)
        there = {
            f"{RUN}/manifest.json": self.manifest.model_dump_json(by_alias=True).encode(),
            f"{MODEL}/versions/3.json": record.model_dump_json(by_alias=True).encode(),
            f"{MODEL}/aliases/latest.json": record.model_dump_json(by_alias=True).encode(),
            **self.contents,
        }
        return None if str(place) in self.lost else there.get(str(place))

    async def head(self, place: Location) -> ObjectInfo | None:
        """Return what the manifest says of a file."""
        self.asked.append(str(place))
        entry = next(one for one in self.manifest.files if str(place) == f"{RUN}/{one.path}")
        if str(place) in self.lost:
            return None
        sha256 = "cd" * 32 if str(place) in self.contents else entry.sha256
        return ObjectInfo(place.key, entry.bytes, "etag", datetime(2026, 11, 21, tzinfo=UTC), sha256)

    async def list_keys(self, place: Location, **_: Any) -> tuple[ObjectInfo, ...]:
        """Return the versions."""
        if str(place) != f"{MODEL}/versions":
            return ()
        key = f"{place.key}/3.json"
        return (ObjectInfo(key, 1, "etag", datetime(2026, 11, 21, tzinfo=UTC)),)

    async def require_bucket(self, place: Location) -> None:
        """It is there."""


@dataclass(frozen=True)
class Opened:
    """The store, or why there is none."""

    store: Storage | Problem

    async def get(self) -> Storage | Problem:
        """Return it."""
        return self.store


@dataclass(frozen=True)
class Jobs:
    """The FineTuneJobs of the namespace `team`, as cache and API server."""

    jobs: Mapping[str, Job]

    def get(self, resource: Resource, namespace: str, name: str) -> Job | None:
        """Return one as the cache has it."""
        assert (resource.kind, namespace) == ("FineTuneJob", "team")
        return self.jobs.get(name)


class Nothing:
    """An API server without FineTuneJobs."""

    async def get(self, *_: object) -> None:
        """Return nothing."""


@dataclass(frozen=True)
class Means:
    """What is looked with."""

    cache: Jobs
    kube: Nothing = field(default_factory=Nothing)


def naming(model: Mapping[str, Any]) -> Subject:
    """Return the FineTuneJob `team/bot` with a model."""
    return make_subject(model=model)


async def found(
    model: Mapping[str, Any],
    *,
    store: Storage | Problem | None = None,
    jobs: Mapping[str, Job] | None = None,
    parents: Parents | None = None,
) -> Parent | Problem:
    """Find the earlier result that the FineTuneJob `team/bot` names."""
    opened, means = Opened(store or Storage()), Means(Jobs(jobs or {}))
    return await (parents or Parents()).find(naming(model), means, opened)  # type: ignore[arg-type]


def done(manifest: Manifest | None = None) -> Job:
    """Return a FineTuneJob that has registered version 3 of its model."""
    artifact = {
        "modelName": "bot", "version": 3, "uri": f"{RUN}/manifest.json", "bytes": 4103,
        "manifestSha256": sha256_of(manifest or manifest_of()), "formats": ["Merged16Bit"],
    }  # fmt: skip
    return {"status": {"phase": "Complete", "artifact": artifact}}


WANT = make_parent(manifest_sha256=sha256_of(manifest_of()), source=f"{RUN}/artifact/merged", root=BASE)


@pytest.mark.parametrize(
    ("model", "looked_up"),
    [
        pytest.param(BY_JOB, [], id="of a job"),
        pytest.param({"registry": {"name": "bot", "version": 3}}, [f"{MODEL}/versions/3.json"], id="a version"),
        pytest.param(LATEST, [f"{MODEL}/aliases/latest.json"], id="an alias"),
    ],
)  # fmt: skip
async def test_an_earlier_result_is_found_and_its_merge_held_against_the_manifest(
    model: Mapping[str, Any], looked_up: list[str]
) -> None:
    storage = Storage()

    assert await found(model, store=storage, jobs={"first": done()}) == WANT
    assert storage.asked == [*looked_up, f"{RUN}/manifest.json", f"{RUN}/{WEIGHTS.path}"]


async def test_the_root_of_a_chain_is_that_of_its_first_result() -> None:
    between = make_parent(root=BASE)
    manifest = manifest_of(
        base_model=BaseModelRecord(source=between.source, digest="cd" * 32), parent=between
    )

    parent = await found(LATEST, store=Storage(manifest))

    assert isinstance(parent, Parent)
    assert parent.root == BASE


async def test_jobs_that_train_on_the_same_ask_storage_once() -> None:
    storage, parents = Storage(), Parents()

    for _ in range(3):
        assert await found(LATEST, store=storage, parents=parents) == WANT

    assert len(storage.asked) == 3


@pytest.mark.parametrize(
    ("job", "want"),
    [
        pytest.param(
            None,
            Problem(
                "FineTuneJobNotFound",
                "FineTuneJob 'first' does not exist in this namespace yet. Create it; or, if it was deleted after its "
                "end, name its result in model.registry of a new FineTuneJob.",
            ),
            id="it does not exist",
        ),
        pytest.param(
            {"status": {"phase": "Training"}},
            Problem("WaitingForFineTuneJob", "FineTuneJob 'first' has no artifact yet; its phase is Training."),
            id="it trains",
        ),
        pytest.param(
            {"status": {"conditions": [
                {"type": "Failed", "status": "True", "reason": "OutOfMemory", "message": "Raise resources.memory."}
            ]}},
            Problem(
                "FineTuneJobFailed",
                "FineTuneJob 'first' has failed (OutOfMemory): Raise resources.memory. Name another job, or replace it "
                "by one that succeeds. To name another, create a new FineTuneJob.",
            ),
            id="it failed",
        ),
        pytest.param(
            {"spec": {"dryRun": True}, "status": {"phase": "Complete"}},
            Problem(
                "FineTuneJobFailed",
                "FineTuneJob 'first' is a dry run (spec.dryRun), which trains nothing. Name another job, or replace it "
                "by one that trains. To name another, create a new FineTuneJob.",
            ),
            id="it is a dry run",
        ),
    ],
)  # fmt: skip
async def test_a_job_without_a_result_is_told_and_costs_storage_nothing(
    job: Job | None, want: Problem
) -> None:
    storage = Storage()

    assert await found(BY_JOB, store=storage, jobs={} if job is None else {"first": job}) == want
    assert storage.asked == []


BEGUN = {"status": {"phase": "Training", "parent": make_parent(job="bot").to_dict()}}


def on(name: str) -> Job:
    return {"spec": {"model": {"fineTuneJobRef": {"name": name}}}}


@pytest.mark.parametrize(
    ("jobs", "want"),
    [
        pytest.param({"first": on("bot")}, "bot -> first -> bot", id="of two"),
        pytest.param(
            {"first": on("second"), "second": on("bot")}, "bot -> first -> second -> bot", id="of three"
        ),
        pytest.param({"first": on("second"), "second": on("first")}, "", id="that it is not part of"),
        pytest.param({"first": on("first")}, "", id="of one that it waits for"),
        pytest.param({"first": on("gone")}, "", id="none: the way ends"),
        pytest.param(
            {"first": {**on("bot"), **BEGUN}}, "", id="none: the other one has begun with an earlier bot"
        ),
    ],
)
async def test_jobs_that_wait_for_each_other_are_told_of_the_circle(
    jobs: Mapping[str, Job], want: str
) -> None:
    problem = await found(BY_JOB, jobs=jobs)

    assert isinstance(problem, Problem)
    assert problem.reason == ("CircularReference" if want else "WaitingForFineTuneJob")
    assert want in problem.message


async def test_a_job_that_names_itself_is_told_so() -> None:
    itself = {"fineTuneJobRef": {"name": "bot"}}

    assert await found(itself, jobs={"bot": on("bot")}) == Problem(
        "CircularReference",
        "The FineTuneJob waits for itself: bot -> bot. Create a new one whose model is none of these.",
    )


async def test_a_job_that_is_done_is_no_part_of_a_circle() -> None:
    assert await found(BY_JOB, jobs={"first": {**on("bot"), **done()}}) == WANT


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ({"name": "bot", "version": 7}, f"{MODEL} has no version 7: its newest version is 3. "),
        ({"name": "bot", "alias": "best"}, f"{MODEL} has no alias best: its newest version is 3. "),
        (
            {"name": "cat", "version": 1},
            "s3://garden/root/models/team/cat has no version 1: nothing is registered under that name. ",
        ),
    ],
    ids=["a version", "an alias", "a model"],
)
async def test_what_is_not_in_the_registry_is_told(reference: Mapping[str, Any], words: str) -> None:
    problem = await found({"registry": reference})

    assert problem == Problem(
        "VersionNotFound",
        f"{words}The job goes on by itself once there is one; to train on from another, create a new FineTuneJob.",
    )
    assert isinstance(problem, Problem)
    assert problem.recheck_after is not None


ADAPTER_ALONE = manifest_of(formats={"Adapter": "artifact/adapter"}, files=(ADAPTER,))
BOTH = manifest_of(
    formats={"Adapter": "artifact/adapter", "Merged16Bit": "artifact/merged"}, files=(ADAPTER, WEIGHTS)
)


async def test_an_adapter_alone_is_refused_and_one_beside_a_merge_is_passed_over() -> None:
    assert await found(LATEST, store=Storage(ADAPTER_ALONE)) == Problem(
        "FormatNotFound",
        "bot version 3 has no 16-bit merge to train on from, only Adapter. Run its FineTuneJob anew with Merged16Bit in "
        "output.formats, and name that version in a new FineTuneJob.",
    )
    beside = await found(LATEST, store=Storage(BOTH))
    assert isinstance(beside, Parent)
    assert beside.source == WANT.source


@pytest.mark.parametrize(
    ("store", "want"),
    [
        pytest.param(
            Storage(lost=(f"{RUN}/manifest.json",)),
            Problem("ModelNotFound", f"{RUN}/manifest.json, bot version 3, does not exist. {ANOTHER}"),
            id="its manifest is gone",
        ),
        pytest.param(
            Storage(record=record_of(manifest_of(), manifest_sha256="cd" * 32)),
            Problem(
                "ArtifactInvalid",
                f"{RUN}/manifest.json has SHA-256 {sha256_of(manifest_of())}, bot version 3 was registered with "
                f"{'cd' * 32}. {ANOTHER}",
            ),
            id="its manifest is another",
        ),
        pytest.param(
            Storage(lost=(f"{RUN}/{WEIGHTS.path}",)),
            Problem(
                "ArtifactInvalid", f"{RUN}/{WEIGHTS.path} is in the manifest but does not exist. {ANOTHER}"
            ),
            id="a file is gone",
        ),
        pytest.param(
            Storage(contents={f"{RUN}/{WEIGHTS.path}": b"other"}),
            Problem(
                "ArtifactInvalid",
                f"{RUN}/{WEIGHTS.path} has SHA-256 {'cd' * 32}, the manifest says {DIGEST}. {ANOTHER}",
            ),
            id="a file is another",
        ),
        pytest.param(
            Storage(contents={f"{MODEL}/aliases/latest.json": b"{}"}),
            Problem("ArtifactInvalid", f"{MODEL}/aliases/latest.json is no record of a version. {ANOTHER}"),
            id="its record is damaged",
        ),
        pytest.param(
            Storage(record=record_of(manifest_of(), manifest="file:///tmp/manifest.json")),
            Problem(
                "ArtifactInvalid",
                "The record of bot version 3: 'file:///tmp/manifest.json' is not of the form s3://bucket/key",
            ),
            id="its record leads elsewhere",
        ),
        pytest.param(
            Storage(manifest_of(formats={"Merged16Bit": "../merged"})),
            Problem(
                "ArtifactInvalid",
                f"{RUN}/manifest.json: source: String should match pattern",
            ),
            id="its manifest leads elsewhere",
        ),
        pytest.param(
            Storage(away=True), Problem("StorageUnavailable", "s3.test does not answer"), id="storage is away"
        ),
        pytest.param(
            Problem("SecretNotFound", "Create it."), Problem("SecretNotFound", "Create it."), id="no secret"
        ),
    ],
)
async def test_a_result_that_is_not_what_was_registered_is_refused(
    store: Storage | Problem, want: Problem
) -> None:
    problem = await found(LATEST, store=store)

    assert isinstance(problem, Problem)
    assert problem.reason == want.reason
    assert problem.message.startswith(want.message)
    assert (problem.recheck_after is not None) == isinstance(store, Storage)


async def test_what_a_newer_version_wrote_says_what_to_upgrade() -> None:
    newer = b'{"schemaVersion": "9.0"}'

    problem = await found(LATEST, store=Storage(contents={f"{RUN}/manifest.json": newer}))

    assert isinstance(problem, Problem)
    assert problem.reason == "UpgradeNeeded"


def test_the_base_model_is_known_where_it_is_a_source_or_has_been_found() -> None:
    new = naming(BY_JOB)
    continued = replace(new, status=new.status.model_copy(update={"parent": WANT}))

    assert [one.has_base for one in (make_subject(), new, continued)] == [True, False, True]
    assert continued.base == WANT.source

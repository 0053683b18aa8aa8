"""What a ModelDeployment is to serve, by what is seen of the FineTuneJob that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from modelgarden.api.conditions import Problem
from modelgarden.api.layout import Location
from modelgarden.api.modeldeployment import ModelDeploymentStatus, ServedArtifact
from modelgarden.kube.resources import Resource
from modelgarden.registry.errors import Unavailable
from modelgarden.serving.resolve import Resolution, Resolver
from tests.unit.serving.builders import DIGEST, OTHER_DIGEST, RUN, artifact, observed

EARLIER = ServedArtifact(uri=RUN, sha256=OTHER_DIGEST, version=1)
ARTIFACT: dict[str, Any] = {
    "modelName": "bot",
    "version": 1,
    "uri": RUN,
    "manifestSha256": DIGEST,
    "formats": ["Merged16Bit", "Adapter"],
    "bytes": 4096,
}


@dataclass
class Jobs:
    """The API server and its cache with one FineTuneJob, or none."""

    job: Mapping[str, Any] | None

    def get(self, resource: Resource, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Return the job as the cache has it."""
        assert (resource.kind, namespace, name) == ("FineTuneJob", "default", "tune")
        return self.job


class Nothing:
    """An API server without a FineTuneJob."""

    async def get(self, *_: object) -> None:
        """Return nothing."""


@dataclass
class Storage:
    """S3, with the objects that are there."""

    there: frozenset[str] = frozenset({RUN})
    away: bool = False
    asked: list[str] = field(default_factory=list)

    async def head(self, place: Location) -> object | None:
        """Return something for an object that is there."""
        self.asked.append(str(place))
        if self.away:
            raise Unavailable("s3.test does not answer")
        return object() if str(place) in self.there else None

    def __hash__(self) -> int:
        return id(self)


@dataclass(frozen=True)
class Opened:
    """The store, or why there is none."""

    store: Storage | Problem

    async def get(self) -> Storage | Problem:
        """Return it."""
        return self.store


async def resolved(
    job: Mapping[str, Any] | None,
    *,
    store: Storage | Problem | None = None,
    before: ServedArtifact | None = None,
) -> Resolution:
    """Resolve the model of the ModelDeployment `default/bot`, which names the FineTuneJob `tune`."""
    subject = observed(status=ModelDeploymentStatus(artifact=before)).subject
    resolver = Resolver(Nothing(), Jobs(job))  # type: ignore[arg-type]
    return await resolver.resolve(subject, Opened(store or Storage()))  # type: ignore[arg-type]


def done(**fields: Any) -> dict[str, Any]:
    return {"status": {"artifact": {**ARTIFACT, **fields}}}


def ended(status: str, *, of: str = "Failed") -> dict[str, Any]:
    condition = {"type": of, "status": status, "reason": "OutOfMemory", "message": "Raise resources.memory."}
    return {"status": {"phase": "Training", "conditions": [condition]}}


async def test_the_artifact_of_a_job_is_served() -> None:
    storage = Storage()

    found = await resolved(done(), store=storage)

    assert found == Resolution(artifact=artifact(), message="bot version 1, made by FineTuneJob 'tune'.")
    assert storage.asked == [RUN]


@pytest.mark.parametrize(
    ("job", "want"),
    [
        pytest.param(
            None,
            Problem("FineTuneJobNotFound", "FineTuneJob 'tune' does not exist in this namespace yet."),
            id="it does not exist",
        ),
        pytest.param(
            {"metadata": {"name": "tune"}},
            Problem("WaitingForFineTuneJob", "FineTuneJob 'tune' has no artifact yet; its phase is Pending."),
            id="it is new",
        ),
        pytest.param(
            {"status": {"phase": "Training"}},
            Problem("WaitingForFineTuneJob", "FineTuneJob 'tune' has no artifact yet; its phase is Training."),
            id="it trains",
        ),
        pytest.param(
            ended("False"),
            Problem("WaitingForFineTuneJob", "FineTuneJob 'tune' has no artifact yet; its phase is Training."),
            id="it has not failed",
        ),
        pytest.param(
            ended("True", of="Suspended"),
            Problem("WaitingForFineTuneJob", "FineTuneJob 'tune' has no artifact yet; its phase is Training."),
            id="something else is true of it",
        ),
        pytest.param(
            done(version="a hundred"),
            Problem("WaitingForFineTuneJob", "FineTuneJob 'tune' has no artifact yet; its phase is Pending."),
            id="another version of the operator wrote what cannot be read",
        ),
    ],
)  # fmt: skip
async def test_a_job_without_an_artifact_is_waited_for(job: Mapping[str, Any] | None, want: Problem) -> None:
    found = await resolved(job)
    again = await resolved(job, before=EARLIER)

    assert found == Resolution(problem=want, waits=True)
    assert again == Resolution(
        artifact=EARLIER,
        message=f"{want.message} Until it has an artifact, the earlier one of that name is served.",
    )


async def test_a_dry_run_is_not_waited_for() -> None:
    said = "FineTuneJob 'tune' is a dry run (spec.dryRun), which trains nothing."

    assert await resolved({"spec": {"dryRun": True}, "status": {"phase": "Complete"}}) == Resolution(
        problem=Problem("FineTuneJobFailed", f"{said} Name another job, or replace it by one that trains.")
    )


async def test_a_job_that_failed_is_not_waited_for() -> None:
    said = "FineTuneJob 'tune' has failed (OutOfMemory): Raise resources.memory."

    assert await resolved(ended("True")) == Resolution(
        problem=Problem("FineTuneJobFailed", f"{said} Name another job, or replace it by one that succeeds.")
    )


async def test_an_artifact_that_is_gone_is_told_and_stays_known() -> None:
    found = await resolved(done(), store=Storage(there=frozenset()))

    assert found.artifact == artifact()
    assert found.problem == Problem(
        "ModelNotFound",
        f"{RUN}, the artifact of FineTuneJob 'tune', does not exist. Restore it, or run the job anew.",
    )


@pytest.mark.parametrize("name", ["Adapter", "GGUF"])
async def test_an_artifact_in_another_format_cannot_be_served(name: str) -> None:
    found = await resolved(done(formats=[name]))

    assert found.artifact is None
    assert found.problem == Problem(
        "FormatNotFound",
        "The artifact of FineTuneJob 'tune' has no 16-bit merge to serve; run a FineTuneJob with Merged16Bit in "
        "output.formats.",
    )


@pytest.mark.parametrize(
    ("before", "want"), [(None, artifact()), (EARLIER, EARLIER)], ids=["of the job", "of the status"]
)
async def test_what_is_known_is_kept_while_storage_cannot_be_asked(
    before: ServedArtifact | None, want: ServedArtifact
) -> None:
    refused = Problem("SecretNotFound", "Secret 's3' does not exist; create it.")

    blocked = await resolved(done(), store=refused, before=before)
    away = await resolved(done(), store=Storage(away=True), before=before)

    assert blocked == Resolution(artifact=want, refused=refused)
    assert away.artifact == want
    assert away.problem is not None
    assert away.problem.reason == "StorageUnavailable"

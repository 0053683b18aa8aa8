"""What a ModelDeployment is to serve: the artifact of a FineTuneJob, or what lies at a source in S3.

Reads the API server, the secret and S3. What was found before stays known while its source cannot be looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelgarden.api.conditions import Problem
from modelgarden.api.finetunejob import USED_FORMAT, ArtifactStatus
from modelgarden.api.layout import MANIFEST, Location
from modelgarden.api.modeldeployment import ModelSource, ServedArtifact
from modelgarden.controller.results import AWAITED, artifact_of, awaited
from modelgarden.controller.storage import OpenStore
from modelgarden.kube.cache import Cache
from modelgarden.kube.client import Kube
from modelgarden.kube.resources import FINETUNEJOBS
from modelgarden.registry.errors import Missing, Refused, StorageError
from modelgarden.registry.lookups import Lookups
from modelgarden.registry.sources import resolve_source
from modelgarden.registry.store import Store
from modelgarden.serving.subject import Subject


@dataclass(frozen=True)
class Resolution:
    """What is to be served, as far as it is known."""

    artifact: ServedArtifact | None = None
    message: str = ""
    refused: Problem | None = None
    """What makes the resource itself unusable, such as a missing secret."""
    problem: Problem | None = None
    """What keeps the artifact from being known, or from being looked at again."""
    waits: bool = False
    """The problem is only that the FineTuneJob is not there yet, or not done."""


def same_source(artifact: ServedArtifact, model: ModelSource, namespace: str) -> bool:
    """Say whether an artifact that was resolved before is of the source that the spec names now."""
    if model.fine_tune_job_ref is not None:
        return f"/runs/{namespace}/{model.fine_tune_job_ref.name}/" in artifact.uri
    return _folder(artifact.uri) == _folder(model.source or "")


class Resolver:
    """Resolves models for all ModelDeployments, sharing S3 answers for a short while."""

    def __init__(self, kube: Kube, cache: Cache, lookups: Lookups | None = None) -> None:
        self._kube = kube
        self._cache = cache
        self._lookups = lookups or Lookups()

    async def resolve(self, subject: Subject, opened: OpenStore) -> Resolution:
        """Return what to serve. What the status names is kept where nothing newer can be had.

        Raises:
            Retryable: the API server does not answer.
        """
        namespace, model, previous = subject.namespace, subject.spec.model, subject.status.artifact
        kept = previous if previous and same_source(previous, model, namespace) else None
        reference = model.fine_tune_job_ref
        job = await self._job(namespace, reference.name) if reference is not None else None
        # Noted before S3 has been asked: the job may be deleted, by its time to live too, before S3 answers.
        known = kept or _served(artifact_of(job))
        store = await opened.get()
        if isinstance(store, Problem):
            return Resolution(artifact=known, refused=store)
        try:
            if reference is not None:
                return await self._of_job(store, reference.name, job, kept)
            return await self._of_source(store, model.source or "")
        except StorageError as error:
            return Resolution(artifact=known, problem=error.problem)

    async def _job(self, namespace: str, name: str) -> dict[str, Any] | None:
        return self._cache.get(FINETUNEJOBS, namespace, name) or await self._kube.get(
            FINETUNEJOBS, namespace, name
        )

    async def _of_job(
        self, store: Store, name: str, job: Mapping[str, Any] | None, kept: ServedArtifact | None
    ) -> Resolution:
        found = artifact_of(job)
        if found is None:
            waiting = awaited(name, job)
            if kept is not None:
                said = f"{waiting.message} Until it has an artifact, the earlier one of that name is served."
                return Resolution(artifact=kept, message=said)
            return Resolution(problem=waiting, waits=waiting.reason in AWAITED)
        artifact = _served(found)
        if artifact is None:
            raise _format_not_found(f"The artifact of FineTuneJob {name!r}")
        manifest = Location.parse(artifact.uri)
        if await self._lookups.get((store, "head", manifest), lambda: store.head(manifest)) is None:
            raise Missing(
                "ModelNotFound",
                f"{manifest}, the artifact of FineTuneJob {name!r}, does not exist. Restore it, or run the job anew.",
            )
        said = f"{found.model_name} version {found.version}, made by FineTuneJob {name!r}."
        return Resolution(artifact=artifact, message=said)

    async def _of_source(self, store: Store, uri: str) -> Resolution:
        source = await resolve_source(store, uri, lookups=self._lookups)
        if source.manifest is not None and USED_FORMAT not in source.manifest.formats:
            raise _format_not_found(f"The run at {source.uri}")
        kind = "folder" if source.manifest is None else "artifact"
        return Resolution(
            artifact=ServedArtifact(uri=source.uri, sha256=source.sha256),
            message=f"The {kind} {source.uri}.",
        )


def _served(artifact: ArtifactStatus | None) -> ServedArtifact | None:
    """Return what is served of a job's artifact, None where it has no format for that."""
    if artifact is None or USED_FORMAT not in artifact.formats:
        return None
    return ServedArtifact(uri=artifact.uri, sha256=artifact.manifest_sha256, version=artifact.version)


def _format_not_found(what: str) -> Refused:
    return Refused(
        "FormatNotFound",
        f"{what} has no 16-bit merge to serve; run a FineTuneJob with Merged16Bit in output.formats.",
    )


def _folder(uri: str) -> str:
    return uri.removesuffix(f"/{MANIFEST}")

"""The earlier result that a FineTuneJob trains on, found for good: of another FineTuneJob, or in the registry.

What is found is kept in the status before anything is created from it, so that an alias that moves, or a job that is
deleted or made anew, changes nothing for a job that has begun.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from modelgarden.api.conditions import Problem
from modelgarden.api.finetunejob import Parent, RegistryReference
from modelgarden.api.layout import Location, registry_uri
from modelgarden.controller.means import Means
from modelgarden.controller.results import artifact_of, awaited
from modelgarden.controller.storage import OpenStore
from modelgarden.finetune.subject import Subject
from modelgarden.kube.cache import Cache
from modelgarden.kube.resources import FINETUNEJOBS
from modelgarden.registry.errors import StorageError
from modelgarden.registry.lookups import Lookups
from modelgarden.registry.published import Published, find_parent, find_version
from modelgarden.registry.store import Store

_RESTORE: Final = "Restore it, or create a new FineTuneJob that names another version."
_REMEDIES: Final = {
    "ArtifactInvalid": _RESTORE,
    "ModelNotFound": _RESTORE,
    "FineTuneJobNotFound": "Create it; or, if it was deleted after its end, name its result in model.registry of a new "
    "FineTuneJob.",
    "FineTuneJobFailed": "To name another, create a new FineTuneJob.",
}
"""What an immutable spec leaves to do, beside what is said to all who name the job or the artifact."""


class Parents:
    """Finds earlier results for all FineTuneJobs, sharing S3's answers for a short while."""

    def __init__(self, lookups: Lookups | None = None) -> None:
        self._lookups = lookups or Lookups()

    async def find(self, subject: Subject, means: Means, opened: OpenStore) -> Parent | Problem:
        """Return what the spec names, or why it is not there.

        Raises:
            Retryable: the API server does not answer.
        """
        store = await opened.get()
        if isinstance(store, Problem):
            return store
        try:
            published = await self._published(subject, means, store)
            if isinstance(published, Problem):
                return published
            return await self._lookups.get(
                (store, "parent", published), lambda: find_parent(store, published)
            )
        except StorageError as error:
            return _with_remedy(error.problem)

    async def _published(self, subject: Subject, means: Means, store: Store) -> Published | Problem:
        model = subject.spec.model
        if model.registry is not None:
            return await self._registered(subject, store, model.registry)
        if model.fine_tune_job_ref is not None:
            return await _of_job(subject, model.fine_tune_job_ref.name, means)
        raise ValueError("the spec names no earlier result")

    async def _registered(self, subject: Subject, store: Store, reference: RegistryReference) -> Published:
        root = registry_uri(subject.spec.output.uri, namespace=subject.namespace, model_name=reference.name)
        model = Location.parse(root)
        key = (store, "version", model, reference.key)
        return await self._lookups.get(key, lambda: find_version(store, model, reference))


async def _of_job(subject: Subject, name: str, means: Means) -> Published | Problem:
    """Return the registered artifact of a FineTuneJob of the subject's namespace, or why there is none."""
    namespace = subject.namespace
    job = means.cache.get(FINETUNEJOBS, namespace, name) or await means.kube.get(
        FINETUNEJOBS, namespace, name
    )
    artifact = artifact_of(job)
    if artifact is not None:
        return Published(artifact.uri, artifact.manifest_sha256, artifact.model_name, artifact.version)
    circle = _circle(subject, name, means.cache)
    if circle:
        way = " -> ".join(circle)
        return Problem(
            "CircularReference",
            f"The FineTuneJob waits for itself: {way}. Create a new one whose model is none of these.",
        )
    return _with_remedy(awaited(name, job))


def _with_remedy(problem: Problem) -> Problem:
    remedy = _REMEDIES.get(problem.reason)
    return replace(problem, message=f"{problem.message} {remedy}") if remedy else problem


def _circle(subject: Subject, name: str, cache: Cache) -> tuple[str, ...]:
    """Return the names on the way from a FineTuneJob over those that each waits for back to itself; none where it ends."""
    way = [subject.name]
    while name not in way:
        way.append(name)
        name = _waits_for(cache.get(FINETUNEJOBS, subject.namespace, name) or {})
    return (*way, name) if name == subject.name else ()


def _waits_for(job: Mapping[str, Any]) -> str:
    """Return the name of what a FineTuneJob waits for, empty where it names none or has found its result."""
    if (job.get("status") or {}).get("parent"):
        return ""
    reference = job.get("spec", {}).get("model", {}).get("fineTuneJobRef") or {}
    return str(reference.get("name", ""))

"""The last step before the end: the artifact gets a version in the registry, and the alias moves to it.

Both are effects of the plan, so that a gate fits between them. Each is harmless when done twice: a run's own version is
found again, and an alias never moves back.
"""

from __future__ import annotations

from dataclasses import replace

from modelgarden.api.conditions import ARTIFACT_REGISTERED, COMPLETE, RUNNING, Problem
from modelgarden.api.layout import LATEST
from modelgarden.api.messages import sentence
from modelgarden.controller.conditions import Finding
from modelgarden.controller.plan import Effect
from modelgarden.controller.times import timestamp
from modelgarden.controller.waiting import SOON_SECONDS, STORAGE_SECONDS
from modelgarden.finetune.effects import AllocateVersion, MoveAlias
from modelgarden.finetune.look import Look
from modelgarden.finetune.manifests.jobs import job_name
from modelgarden.finetune.observation import Observation
from modelgarden.finetune.outcome import Outcome, failed, finding
from modelgarden.finetune.programs import TRAIN
from modelgarden.finetune.reported import recorded
from modelgarden.finetune.steps.step import FineTuneView
from modelgarden.finetune.subject import Subject
from modelgarden.kube.resources import JOBS
from modelgarden.registry.artifacts import Candidate, Registration, find, has_manifest
from modelgarden.registry.errors import StorageError
from modelgarden.registry.versions import allocate, move_alias
from modelgarden.workloads.jobs import job_state


async def observe(look: Look, seen: Observation) -> Observation:
    """Look for the artifact of a training that the API server itself says has ended well.

    Where somebody deleted the train Job, its artifact may be complete all the same: then it is registered too, before
    a GPU is taken to make it again.
    """
    if not awaits_registration(look.subject, seen):
        return seen
    if seen.train is not None:
        name = job_name(look.subject.name, TRAIN)
        live = await look.means.kube.get(JOBS, look.subject.namespace, name)
        if live is None or live["metadata"]["uid"] != seen.train.uid:
            seen = replace(seen, train=None)
        elif job_state(live, (), TRAIN).result != "Complete":
            return seen
    return replace(seen, registration=await _find(look, required=seen.train is not None))


def awaits_registration(subject: Subject, seen: Observation) -> bool:
    """Tell whether training has ended well, or may have before its Job was deleted, and is not known as registered."""
    if subject.finished:
        return False
    if seen.train is not None:
        return seen.train.result == "Complete"
    return bool(subject.status.attempts) and not seen.strays and not subject.spec.suspend


def plan(view: FineTuneView) -> Outcome:
    """Register what training has left; the job is complete with that."""
    finished = finding(RUNNING, "TrainingFinished", "Training has ended well.")
    match view.seen.registration:
        case Registration(record=None):
            return Outcome(effect=AllocateVersion())
        case Registration(aliases=aliases) if LATEST not in aliases:
            return Outcome(effect=MoveAlias(LATEST))
        case Registration() as done:
            return finished.then(_registered(view, done))
        case Problem(reason="ArtifactInvalid") as problem:
            refused = finding(ARTIFACT_REGISTERED, problem.reason, problem.message)
            return finished.then(failed(problem, view.now)).then(refused)
        case Problem() as problem:
            message = f"{sentence(problem.message)} The artifact is kept and is registered as soon as this is mended."
            # Another version of the operator starts with a look at everything.
            again = None if problem.reason == "UpgradeNeeded" else STORAGE_SECONDS
            kept = finding(ARTIFACT_REGISTERED, problem.reason, message, requeue_after=again)
            return finished.then(kept)
        case _:
            message = "The artifact is complete in storage and is being registered."
            waits = finding(ARTIFACT_REGISTERED, "Registering", message, requeue_after=SOON_SECONDS)
            return finished.then(waits)


async def perform(look: Look, effect: Effect, seen: Observation) -> Observation:
    """Do what the plan wants done in the registry; return the observation with what came of it."""
    store, found = await look.store.get(), seen.registration
    if isinstance(store, Problem):
        return replace(seen, registration=store)
    if not isinstance(found, Registration):
        return seen
    try:
        match effect:
            case AllocateVersion():
                return replace(seen, registration=await allocate(store, found, now=look.means.clock()))
            case MoveAlias(alias=alias):
                return replace(seen, registration=await move_alias(store, found, alias=alias))
    except StorageError as error:
        return replace(seen, registration=error.problem)
    raise TypeError(f"A FineTuneJob has no effect {effect}")


async def _find(look: Look, *, required: bool) -> Registration | Problem | None:
    store = await look.store.get()
    if isinstance(store, Problem):
        return store
    output = look.subject.spec.output
    candidate = Candidate(run=look.subject.run, output_uri=output.uri, model_name=output.model_name)
    try:
        if not required and not await has_manifest(store, candidate):
            return None
        return await find(store, candidate)
    except StorageError as error:
        return error.problem


def _registered(view: FineTuneView, done: Registration) -> Outcome:
    artifact = done.artifact
    name = f"{artifact.model_name} version {artifact.version}"
    return Outcome(
        findings=(
            Finding(ARTIFACT_REGISTERED, True, "Registered", f"{name} is {artifact.uri}."),
            Finding(COMPLETE, True, "Succeeded", f"Trained, evaluated and registered as {name}."),
        ),
        fields={
            **recorded(view.subject, done.manifest),
            "completion_time": timestamp(view.now),
            "artifact": artifact,
        },
        done=True,
    )

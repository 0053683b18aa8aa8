"""The first step: is the spec valid, and is there what it refers to?

A wrong input never ends the job. The operator keeps looking: when secret, bucket, model or dataset is mended, the job
goes on by itself. An earlier result that is trained on is found here, once: nothing else is looked at before it is in
the status.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from modelgarden.api.conditions import ACCEPTED, DATASET_READY, Problem
from modelgarden.api.finetunejob import FineTuneJobSpec
from modelgarden.api.hosts import is_allowed
from modelgarden.controller.conditions import Finding
from modelgarden.controller.results import AWAITED
from modelgarden.controller.times import timestamp
from modelgarden.controller.waiting import recheck
from modelgarden.finetune.look import Look
from modelgarden.finetune.observation import Observation
from modelgarden.finetune.outcome import Outcome
from modelgarden.finetune.secrets import hub_token, secret_versions
from modelgarden.finetune.steps.step import FineTuneView
from modelgarden.finetune.trackers import tracker_secrets
from modelgarden.registry.errors import StorageError
from modelgarden.registry.inputs import InputSources

_AT_ONCE: Final = 0.0
"""Until the next look: it finds in the status what this one has written there."""


async def observe(look: Look, seen: Observation) -> Observation:
    """Look at the inputs where they decide something: before prepare, and after it has failed."""
    if not look.subject.has_base and seen.train is None:
        return replace(seen, parent=await look.parents.find(look.subject, look.means, look.store))
    if look.subject.is_true(DATASET_READY) or (seen.prepare is not None and seen.prepare.result != "Failed"):
        return seen
    return replace(seen, inputs=await _inputs(look))


def plan(view: FineTuneView) -> Outcome:
    """Say whether the spec is valid and what it refers to exists."""
    parent, inputs = view.seen.parent, view.seen.inputs
    if isinstance(parent, Problem):
        again = None if parent.reason in AWAITED else recheck(parent)
        return Outcome(findings=(Finding.against(ACCEPTED, parent),), requeue_after=again)
    if parent is not None:
        return Outcome(fields={"parent": parent}, requeue_after=_AT_ONCE)
    if isinstance(inputs, Problem):
        finding = Finding.against(ACCEPTED, inputs)
        return Outcome(findings=(finding,), requeue_after=recheck(inputs), done=True)
    fields = {} if view.subject.status.start_time else {"start_time": timestamp(view.now)}
    message = "The spec is valid and what it refers to exists."
    return Outcome(findings=(Finding(ACCEPTED, True, "Accepted", message),), fields=fields, done=True)


async def _inputs(look: Look) -> str | Problem:
    spec = look.subject.spec
    refused = refused_host(
        (source.uri for source in spec.dataset.all_sources), look.means.settings.dataset_allowed_hosts
    )
    if refused is not None:
        return refused
    store = await look.store.get()
    if isinstance(store, Problem):
        return store
    credentials = await _credentials(look)
    if isinstance(credentials, Problem):
        return credentials
    sources = InputSources(
        model=look.subject.base,
        dataset=spec.data,
        output=spec.output.uri,
        registers=not spec.dry_run,
        credentials=credentials,
    )
    try:
        return await look.inputs.fingerprint(store, sources)
    except StorageError as error:
        return error.problem


def refused_host(uris: Iterable[str], allowed: Iterable[str]) -> Problem | None:
    """Return what is wrong with the first source of a host that datasets may not come from."""
    hosts = tuple(allowed)
    for uri in uris:
        host = urlsplit(uri).hostname or ""
        if uri.startswith("https://") and not is_allowed(host, hosts):
            return Problem(
                "AccessDenied",
                f"{uri}: {host} is none of the hosts that datasets may come from ({', '.join(hosts) or 'none'}). Have it "
                "added to dataset.allowedHosts of the operator's chart, or put the file into S3 and create a new "
                "FineTuneJob.",
            )
    return None


def _token_secrets(spec: FineTuneJobSpec) -> list[str]:
    """Return the names of the secrets with tokens of the hub, each once."""
    hub = spec.output.hub
    references = [
        spec.model.token_secret_ref,
        *(one.token_secret_ref for one in spec.dataset.all_sources),
        hub.token_secret_ref if hub is not None else None,
    ]
    return list(dict.fromkeys(one.name for one in references if one is not None))


async def _credentials(look: Look) -> tuple[str, ...] | Problem:
    """Return the versions of the secrets that the pods are given, or what is wrong with one of them."""
    spec = look.subject.spec
    versions = await secret_versions(look, (*spec.storage.secrets, *map(hub_token, _token_secrets(spec))))
    if isinstance(versions, Problem):
        return versions
    return await _trackers_problem(look) or versions


async def _trackers_problem(look: Look) -> Problem | None:
    """Return what is wrong with a secret of the trackers; that of training alone has no part in what is prepared."""
    for wanted in tracker_secrets(look.subject.spec.trackers):
        secret = await look.means.storage.secret(look.subject.namespace, wanted.name, keys=wanted.keys[:1])
        if isinstance(secret, Problem):
            return secret
        try:
            wanted.check(secret)
        except StorageError as error:
            return error.problem
    return None

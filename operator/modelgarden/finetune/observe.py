"""Everything that a plan is made from, gathered: Jobs and pods, the inputs in S3, the pod's report.

Nothing is written here. S3 is asked only where the answer decides something, so that a thousand waiting or running
jobs cost it nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from modelgarden.api.artifact import DatasetReport
from modelgarden.api.conditions import DATASET_READY
from modelgarden.api.emissions import EmissionsRecord
from modelgarden.api.finetunejob import DatasetStatus
from modelgarden.api.layout import DATASET_REPORT, Location
from modelgarden.api.names import FINETUNEJOB_LABEL, STEP_LABEL
from modelgarden.api.pods import TrainReport
from modelgarden.finetune.emissions import read_attempts
from modelgarden.finetune.manifests import HUB_TOKEN_KEY, job_name, run_location
from modelgarden.finetune.subject import Subject
from modelgarden.kube.cache import Cache
from modelgarden.kube.client import Kube
from modelgarden.kube.errors import Invalid
from modelgarden.kube.resources import JOBS, PODS, SECRETS, controller_of
from modelgarden.registry.errors import StorageError
from modelgarden.registry.inputs import Inputs, InputSources
from modelgarden.registry.lookups import Lookups
from modelgarden.registry.store import Store, Stores
from modelgarden.registry.versions import Registration
from modelgarden.workloads.jobs import PREPARE, TRAIN, JobState, PodState, Problem, Step, job_state
from modelgarden.workloads.podstate import ended
from modelgarden.workloads.refusals import PodRefusals
from modelgarden.workloads.reports import PodReports

SECRET_SECONDS: Final = 4.0
"""How long a secret is kept for the resources that share it."""
MOST_REPORTS: Final = 20_000
"""Pods that are deleted with their FineTuneJob are never seen to end; their reports make room."""
_CONTROLLER_UID: Final = "batch.kubernetes.io/controller-uid"


@dataclass(frozen=True)
class Observation:
    """What was seen. `None` says: not there, or not looked at because it decides nothing now."""

    inputs: str | Problem | None = None
    """Fingerprint of the inputs, or what is wrong with them or with the secrets."""
    prepare: JobState | None = None
    train: JobState | None = None
    strays: tuple[str, ...] = ()
    """Pods of deleted Jobs of this resource that have not ended yet."""
    dataset: DatasetStatus | None = None
    """Prepare's result from S3, where its pod is gone."""
    report: TrainReport | None = None
    registration: Registration | Problem | None = None
    emissions: tuple[EmissionsRecord, ...] | None = None
    """Of a failed training, what its attempts left in S3."""


class StorageAccess:
    """Opens the S3 store of a FineTuneJob with the credentials that its spec names."""

    def __init__(self, kube: Kube, stores: Stores) -> None:
        self._kube = kube
        self._stores = stores
        self._secrets = Lookups()

    async def open(self, subject: Subject) -> Store | Problem:
        """Return the store, or what is wrong with the secret.

        Raises:
            Retryable: the API server does not answer.
        """
        reference = subject.spec.storage.credentials_secret_ref
        secret = await self.secret(subject.run.namespace, reference.name) if reference is not None else None
        if isinstance(secret, Problem):
            return secret
        try:
            return self._stores.for_storage(subject.spec.storage, secret)
        except StorageError as error:
            return Problem(error.reason, error.message)

    async def secret(self, namespace: str, name: str) -> dict[str, Any] | Problem:
        """Return a secret, or what is wrong with it."""
        try:
            found = await self._secrets.get(
                (namespace, name),
                lambda: self._kube.get(SECRETS, namespace, name),
                keep_seconds=SECRET_SECONDS,
            )
        except Invalid as error:
            return Problem("SecretInvalid", f"Secret {name!r} cannot be read: {error.message}")
        if found is None:
            return Problem(
                "SecretNotFound",
                f"Secret {name!r} does not exist in namespace {namespace!r}. Create it; the job then goes on.",
            )
        return found


class ProgressReports:
    """Pulls the training pods' reports, each at most once per interval."""

    def __init__(
        self, reports: PodReports, *, interval_seconds: float, clock: Callable[[], datetime]
    ) -> None:
        self._reports = reports
        self._interval = interval_seconds
        self._clock = clock
        self._newest: OrderedDict[str, tuple[datetime, TrainReport | None]] = OrderedDict()

    async def newest(self, pod: PodState) -> TrainReport | None:
        """Return the pod's report, not older than the interval, or the last one while the pod does not answer."""
        asked, known = self._newest.get(pod.uid, (None, None))
        if asked is not None and (self._clock() - asked).total_seconds() < self._interval:
            return known
        report = _train_report(await self._reports.fetch(pod.body, "/progress"))
        # An address can pass to another pod between two looks.
        if report is not None and report.attempt == pod.uid:
            known = report
        self._newest[pod.uid] = (self._clock(), known)
        self._newest.move_to_end(pod.uid)
        if len(self._newest) > MOST_REPORTS:
            self._newest.popitem(last=False)
        return known

    def forget(self, pod: PodState) -> None:
        """Drop what is known of a pod that has ended."""
        self._newest.pop(pod.uid, None)


class Observer:
    """Gathers observations."""

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        storage: StorageAccess,
        inputs: Inputs,
        progress: ProgressReports,
        refusals: PodRefusals,
    ) -> None:
        self._kube = kube
        self._refusals = refusals
        self._cache = cache
        self._storage = storage
        self._inputs = inputs
        self._progress = progress

    async def observe(self, subject: Subject) -> Observation:
        """Return what is so now.

        Raises:
            Retryable: the API server does not answer.
        """
        if subject.finished:
            return Observation()
        prepare = await self._job(subject, PREPARE)
        train = await self._job(subject, TRAIN)
        return Observation(
            inputs=await self._look_at_inputs(subject, prepare),
            prepare=prepare,
            train=train,
            strays=self._strays(subject, prepare, train),
            dataset=await self._dataset(subject, prepare),
            report=await self._report(train),
            emissions=await self._emissions(subject, train),
        )

    async def _job(self, subject: Subject, step: Step) -> JobState | None:
        job = self._cache.get(JOBS, subject.run.namespace, job_name(subject.run.name, step))
        if job is None or not _controlled_by(job, subject.run.uid):
            return None
        state = job_state(job, self._cache.children(PODS, job["metadata"]["uid"]), step=step)
        if state.outcome == "Active":
            return await self._refusals.noted(state, subject.run.namespace)
        if state.ending is not None:
            return state
        # The Job's event overtook its pod's: how the pod ended is known to the API server already.
        selector = f"{_CONTROLLER_UID}={state.uid}"
        pods = await self._kube.list(PODS, namespace=subject.run.namespace, label_selector=selector)
        return job_state(job, pods, step=step)

    async def _look_at_inputs(self, subject: Subject, prepare: JobState | None) -> str | Problem | None:
        if subject.is_true(DATASET_READY) or (prepare is not None and prepare.outcome != "Failed"):
            return None
        spec = subject.spec
        store = await self._storage.open(subject)
        if isinstance(store, Problem):
            return store
        credentials = await self._credentials(subject)
        if isinstance(credentials, Problem):
            return credentials
        sources = InputSources(
            model=spec.model.source,
            dataset=spec.dataset.source,
            output=spec.output.uri,
            credentials=credentials,
        )
        try:
            return await self._inputs.fingerprint(store, sources)
        except StorageError as error:
            return Problem(error.reason, error.message)

    async def _credentials(self, subject: Subject) -> tuple[str, ...] | Problem:
        """Return the versions of the secrets that the pods are given, or what is wrong with one of them."""
        versions = []
        token = subject.spec.model.token_secret_ref
        for reference in filter(None, (subject.spec.storage.credentials_secret_ref, token)):
            secret = await self._storage.secret(subject.run.namespace, reference.name)
            if isinstance(secret, Problem):
                return secret
            if reference is token and HUB_TOKEN_KEY not in (secret.get("data") or {}):
                return Problem("SecretInvalid", f"Secret {token.name!r} lacks {HUB_TOKEN_KEY}; add the key.")
            versions.append(str(secret["metadata"]["resourceVersion"]))
        return tuple(versions)

    def _strays(self, subject: Subject, *jobs: JobState | None) -> tuple[str, ...]:
        current = {job.uid for job in jobs if job is not None}
        labelled = self._cache.labelled(PODS, subject.run.namespace, FINETUNEJOB_LABEL, subject.run.name)
        return tuple(
            pod["metadata"]["name"]
            for pod in labelled
            if STEP_LABEL in pod["metadata"].get("labels", {})
            and not ended(pod)
            and (controller_of(pod) or {}).get("uid") not in current
        )

    async def _dataset(self, subject: Subject, prepare: JobState | None) -> DatasetStatus | None:
        if prepare is None or prepare.outcome != "Complete" or subject.status.dataset is not None:
            return None
        if prepare.ending is not None and prepare.ending.said is not None and prepare.ending.said.dataset:
            return None
        store = await self._storage.open(subject)
        if isinstance(store, Problem):
            return None
        try:
            return await read_dataset_report(store, run_location(subject))
        except StorageError:
            return None  # the manifest has it too

    async def _emissions(
        self, subject: Subject, train: JobState | None
    ) -> tuple[EmissionsRecord, ...] | None:
        if train is None or train.outcome != "Failed":
            return None
        store = await self._storage.open(subject)
        if isinstance(store, Problem):
            return None
        try:
            return await read_attempts(store, run_location(subject))
        except StorageError:
            return None

    async def _report(self, train: JobState | None) -> TrainReport | None:
        pod = train.newest if train is not None else None
        if pod is None:
            return None
        if not pod.running:
            self._progress.forget(pod)
            return None
        return await self._progress.newest(pod)


async def read_dataset_report(store: Store, run: Location) -> DatasetStatus | None:
    """Return what prepare found, from its report in S3; None where there is none that can be read.

    Raises:
        StorageError: S3 refuses or does not answer.
    """
    content = await store.get_bytes(run.child(DATASET_REPORT))
    try:
        return None if content is None else DatasetReport.model_validate_json(content).status
    except ValidationError:
        return None


def _train_report(body: Mapping[str, Any] | None) -> TrainReport | None:
    try:
        return None if body is None else TrainReport.from_dict(body)
    except ValidationError:
        return None


def _controlled_by(child: Mapping[str, Any], uid: str) -> bool:
    controller = controller_of(child)
    return controller is not None and controller["uid"] == uid

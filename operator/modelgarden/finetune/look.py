"""What the steps look with: one reconcile's access to the API server, to S3 and to the running pods."""

from __future__ import annotations

from dataclasses import dataclass

from modelgarden.controller.storage import OpenStore, StorageAccess
from modelgarden.controller.times import Clock
from modelgarden.finetune.progress import ProgressReports
from modelgarden.finetune.subject import Subject
from modelgarden.kube.cache import Cache
from modelgarden.kube.client import Kube
from modelgarden.registry.inputs import Inputs
from modelgarden.workloads.refusals import Refusals


@dataclass(frozen=True)
class Shared:
    """What all reconciles share."""

    kube: Kube
    cache: Cache
    storage: StorageAccess
    inputs: Inputs
    progress: ProgressReports
    refusals: Refusals
    clock: Clock
    progress_interval_seconds: float


@dataclass(frozen=True)
class Look:
    """One reconcile of one FineTuneJob."""

    subject: Subject
    shared: Shared
    store: OpenStore

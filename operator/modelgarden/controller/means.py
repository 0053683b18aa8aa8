"""What every kind reconciles with: the API server, S3, the running pods, the settings and the clock."""

from __future__ import annotations

from dataclasses import dataclass

from modelgarden.controller.storage import StorageAccess
from modelgarden.controller.times import Clock
from modelgarden.kube.cache import Cache
from modelgarden.kube.client import Kube
from modelgarden.settings import Settings
from modelgarden.workloads.gpus import NodeGpus
from modelgarden.workloads.refusals import Refusals
from modelgarden.workloads.reports import PodReports


@dataclass(frozen=True)
class Means:
    """Shared by the reconciles of all kinds, for as long as the cache lives."""

    kube: Kube
    cache: Cache
    storage: StorageAccess
    reports: PodReports
    refusals: Refusals
    gpus: NodeGpus
    settings: Settings
    clock: Clock

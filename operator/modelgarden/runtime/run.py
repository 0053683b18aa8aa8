"""The process's life: wait for the API, wait for the Lease, lead, and end.

To lead is to fill the cache, then to run watches, workers and the regular resync side by side. When the watches end,
all of that starts anew with an empty cache, as a restart of the process would do, but without the kubelet's back-off
and without giving the Lease up. SIGTERM releases the Lease; losing it, or an error that nobody expected, ends the
process with 1, and the pod restarts: a restart with nothing to do writes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from modelgarden.controller.means import Means
from modelgarden.controller.plan import Reconciler
from modelgarden.controller.reconcile import KindReconciler
from modelgarden.controller.storage import StorageAccess
from modelgarden.controller.times import utc_now
from modelgarden.finetune.reconcile import FineTuneJobKind
from modelgarden.kube.cache import Cache
from modelgarden.kube.client import Kube
from modelgarden.kube.errors import Invalid, Lost, Missing, Retryable
from modelgarden.kube.resources import FINETUNEJOBS, MODELDEPLOYMENTS, OWNERS, Resource
from modelgarden.registry.stores import Stores
from modelgarden.runtime.election import Leader, elected
from modelgarden.runtime.endpoints import endpoints
from modelgarden.runtime.health import Limits, Vitals
from modelgarden.runtime.metrics import Metrics
from modelgarden.runtime.queue import WorkQueue
from modelgarden.runtime.resync import Resync
from modelgarden.runtime.sink import Sink
from modelgarden.runtime.watch import WatchEnded, watch
from modelgarden.runtime.workers import RECONCILE_SECONDS, work
from modelgarden.serving.reconcile import ModelDeploymentKind
from modelgarden.settings import Settings
from modelgarden.workloads.gpus import NodeGpus
from modelgarden.workloads.refusals import Refusals
from modelgarden.workloads.reports import PodReports

log = logging.getLogger(__name__)

API_RETRY_SECONDS: Final = 2.0
FIRST_RESTART_SECONDS: Final = 1.0
LONGEST_RESTART_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 300.0
"""Watches that lasted so long end their back-off."""


@dataclass(frozen=True)
class Process:
    """What lives as long as the process."""

    settings: Settings
    kube: Kube
    stores: Stores
    reports: PodReports
    metrics: Metrics
    vitals: Vitals
    stop: asyncio.Event

    def catch_signals(self) -> None:
        """Turn SIGTERM and SIGINT into an orderly end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop.set)


async def run(settings: Settings) -> int:
    """Run the operator; return the process's exit status."""
    metrics = Metrics()
    vitals = Vitals(_limits(settings))
    async with elected(settings, metrics.request) as leader:
        kube = await Kube.connect(observer=metrics.request, fence=leader.held if leader is not None else None)
        process = Process(
            settings=settings,
            kube=kube,
            stores=Stores(threads=settings.storage_threads),
            reports=PodReports(),
            metrics=metrics,
            vitals=vitals,
            stop=asyncio.Event(),
        )
        process.catch_signals()
        _add_gauges(metrics, vitals)
        async with endpoints(
            vitals, metrics, health_port=settings.health_port, metrics_port=settings.metrics_port
        ):
            status = await _until_stopped(process, leader)
            if leader is not None:
                await leader.release()
        await process.reports.close()
        await kube.close()
    return status


async def _until_stopped(process: Process, leader: Leader | None) -> int:
    serving = asyncio.create_task(_serve(process, leader))
    stopping = asyncio.create_task(process.stop.wait())
    beating = asyncio.create_task(process.vitals.beat())
    await asyncio.wait({serving, stopping, beating}, return_when=asyncio.FIRST_COMPLETED)
    status = 0 if stopping.done() else 1
    log.info("Stopping") if status == 0 else _log_end(serving)
    for task in (serving, stopping, beating):
        task.cancel()
    await asyncio.wait({serving, stopping, beating})
    return status


def _log_end(serving: asyncio.Task[None]) -> None:
    error = serving.exception() if serving.done() else None
    first = error
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    if isinstance(first, Lost):
        log.error("Ending: %s", first)
    else:
        log.error("Ending on an unexpected error", exc_info=error)


async def _serve(process: Process, leader: Leader | None) -> None:
    await _wait_for_api(process.kube, process.settings.watch_namespaces)
    process.vitals.ready = True
    if leader is None:
        await lead(process)
        return
    await leader.acquire()
    async with asyncio.TaskGroup() as group:
        group.create_task(leader.keep())
        group.create_task(lead(process))


async def _wait_for_api(kube: Kube, namespaces: tuple[str, ...]) -> None:
    """Wait until the API server answers for every kind; kopf would silently not watch a kind that is not there."""
    # Where only some namespaces are served, a Role is all that the operator has.
    namespace = next(iter(namespaces), None)
    for resource in OWNERS:
        while True:
            try:
                await anext(kube.pages(resource, namespace=namespace, limit=1))
                break
            except Missing:
                log.error("The CustomResourceDefinition of %s is missing; apply crds/", resource.kind)
            except (Retryable, Invalid) as error:
                log.warning("Waiting for the API server: %s", error.message)
            await asyncio.sleep(API_RETRY_SECONDS)


async def lead(process: Process) -> None:
    """Reconcile until cancelled, through ends of the watches."""
    loop = asyncio.get_running_loop()
    wait = FIRST_RESTART_SECONDS
    process.metrics.is_leader.set(1)
    while True:
        started = loop.time()
        try:
            await _reconcile(process)
        except* (WatchEnded, Retryable, Invalid) as group:
            log.error("Watching again in %.0f s: %s", wait, group.exceptions[0])
        finally:
            process.vitals.stop()
        process.metrics.watch_restarts.inc()
        await asyncio.sleep(wait)
        steady = loop.time() - started > STEADY_SECONDS
        wait = FIRST_RESTART_SECONDS if steady else min(wait * 2, LONGEST_RESTART_SECONDS)


async def _reconcile(process: Process) -> None:
    """Run watches, workers and resync until one of them fails."""
    settings, kube, metrics = process.settings, process.kube, process.metrics
    cache, queue = Cache(), WorkQueue()
    resync = Resync(kube, cache, queue, namespaces=settings.watch_namespaces, metrics=metrics)
    await resync.fill()
    reconcilers = _reconcilers(process, cache)
    sink = Sink(cache, queue)
    async with asyncio.TaskGroup() as group:
        workers = [
            group.create_task(work(queue, reconcilers, metrics), name=f"worker {number}")
            for number in range(settings.workers)
        ]
        process.vitals.start(queue, workers)
        group.create_task(resync.repeat(settings.resync_seconds, process.vitals))
        group.create_task(
            watch(
                sink,
                kube.connection,
                namespaces=settings.watch_namespaces,
                on_started=process.catch_signals,
            )
        )


def _reconcilers(process: Process, cache: Cache) -> Mapping[Resource, Reconciler]:
    means = Means(
        kube=process.kube,
        cache=cache,
        storage=StorageAccess(process.kube, process.stores),
        reports=process.reports,
        refusals=Refusals(process.kube),
        gpus=NodeGpus(process.kube),
        settings=process.settings,
        clock=utc_now,
    )
    return {
        FINETUNEJOBS: KindReconciler(FineTuneJobKind(means), means),
        MODELDEPLOYMENTS: KindReconciler(ModelDeploymentKind(means), means),
    }


def _limits(settings: Settings) -> Limits:
    return Limits(
        waiting=settings.stuck_seconds,
        working=RECONCILE_SECONDS * 1.5,
        unsynced=settings.resync_seconds * 3 + 60,
        lag=30,
    )


def _add_gauges(metrics: Metrics, vitals: Vitals) -> None:
    metrics.gauge("queue_depth", "Keys that wait for a worker.", lambda: vitals.depth)
    metrics.gauge("reconciles_running", "Keys in work.", lambda: vitals.working)
    metrics.gauge(
        "queue_oldest_seconds", "Seconds that the first key has waited.", lambda: vitals.signs().waiting
    )
    metrics.gauge("event_loop_lag_seconds", "Lateness of the event loop.", lambda: vitals.signs().lag)

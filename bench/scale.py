"""What one operator process costs with many FineTuneJobs at once, on a real control plane with KWOK's fake nodes.

    python bench/scale.py --jobs 1000            figures as a table
    python bench/scale.py --jobs 1000 --check    exits with 1 where a limit is exceeded

Measured in one run: the floor (as many plain Jobs without an operator), the time until every FineTuneJob has its
first condition and until every prepare pod runs, memory, CPU time and writes of the operator, and what a restart with
everything settled costs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):
    sys.path.insert(0, str(ROOT))

from bench.watching import create_all, watched  # noqa: E402 -- the path comes first
from hack.cluster import ControlPlane, start_control_plane, start_s3  # noqa: E402
from hack.cluster.kwok import FakeNodes, start_kwok  # noqa: E402
from modelgarden.api.names import STEP_LABEL  # noqa: E402
from modelgarden.kube.client import Kube  # noqa: E402
from modelgarden.kube.resources import FINETUNEJOBS, JOBS, PODS  # noqa: E402
from tests.integration.conftest import create_namespace, install  # noqa: E402
from tests.integration.harness.api import NAMESPACES, Api, Obj  # noqa: E402
from tests.integration.harness.garden import Garden  # noqa: E402
from tests.integration.harness.process import OperatorProcess  # noqa: E402
from tests.integration.harness.waiting import CLOSE_POLL_SECONDS, wait_for  # noqa: E402

STAYS = {"pod-complete.stage.kwok.x-k8s.io/delay": "3600s"}
"""Keeps KWOK's pods running, so that the figures are those of the start."""


@dataclass(frozen=True)
class Limits:
    """What a run may cost, at 1,000 FineTuneJobs.

    The times are in floors, the time of as many plain Jobs in the same run: in seconds they say more about the machine
    than about the operator. Two and three floors are 20 s and 30 s where plain Jobs take 10 s.
    """

    first_conditions_floors: float = 2
    pods_running_floors: float = 3
    peak_mib: float = 160
    cpu_seconds: float = 15
    writes_per_job: float = 4
    restart_writes: int = 0


@dataclass(frozen=True)
class Figures:
    """What was measured; times in seconds from the first creation."""

    machine: str
    jobs: int
    floor_pods_running: float
    created: float
    first_conditions: float
    pods_running: float
    cpu_seconds: float
    rss_mib: float
    peak_mib: float
    writes_per_job: float
    writes: dict[str, int]
    reconciles: int
    restart_idle: float
    restart_cpu_seconds: float
    restart_peak_mib: float
    restart_writes: int

    @property
    def first_conditions_floors(self) -> float:
        """The time until every FineTuneJob has a condition, in floors."""
        return self.first_conditions / self.floor_pods_running

    @property
    def pods_running_floors(self) -> float:
        """The time until every prepare pod runs, in floors."""
        return self.pods_running / self.floor_pods_running

    def exceeded(self, limits: Limits) -> list[str]:
        """Return what is beyond its limit."""
        pairs = {name: (getattr(self, name), limit) for name, limit in asdict(limits).items()}
        return [
            f"{name} is {found:.1f}, limit {limit}" for name, (found, limit) in pairs.items() if found > limit
        ]


def running(pod: Obj) -> bool:
    """Tell whether a pod runs."""
    return bool(pod["status"].get("phase") == "Running")


def has_condition(obj: Obj) -> bool:
    """Tell whether an object has its first condition."""
    return bool(obj.get("status", {}).get("conditions"))


async def floor(kube: Kube, namespace: str, template: Obj, count: int) -> float:
    """Return the seconds until the pods of plain Jobs run: what control plane and machine take by themselves."""
    manifests = [_plain_job(namespace, f"plain-{number}", template) for number in range(count)]
    async with watched(kube, PODS, namespace, running) as pods:
        started = time.monotonic()
        await create_all(kube, manifests)
        await pods.reach(count)
        return time.monotonic() - started


async def start_of_jobs(kube: Kube, garden: Garden, count: int) -> tuple[float, float, float]:
    """Create FineTuneJobs; return the seconds until all are created, have a condition, and have a running pod."""
    manifests = [job_manifest(garden, f"job-{number}") for number in range(count)]
    namespace = garden.namespace
    async with (
        watched(kube, FINETUNEJOBS, namespace, has_condition) as jobs,
        watched(kube, PODS, namespace, running, f"{STEP_LABEL}=prepare") as pods,
    ):
        started = time.monotonic()

        async def since(what: Any) -> float:
            await what
            return time.monotonic() - started

        created, conditions, pods_running = await asyncio.gather(
            since(create_all(kube, manifests)),
            since(jobs.reach(count)),
            since(pods.reach(count)),
        )
        return created, conditions, pods_running


def job_manifest(garden: Garden, name: str) -> Obj:
    """Return a FineTuneJob whose prepare pod stays."""
    return garden.finetunejob_manifest(name, podTemplate={"annotations": STAYS})


async def measure(control_plane: ControlPlane, garden: Garden, folder: Path, *, count: int) -> Figures:
    """Run everything once."""
    kube = await Kube.connect(kubeconfig=str(control_plane.kubeconfig))
    operator = OperatorProcess(control_plane.kubeconfig, folder / "operator.log", {"log_format": "json"})
    try:
        operator.start()
        operator.wait_until_leading()
        template = await _prepare_template(kube, garden)
        operator.stop()
        floor_seconds = await _measure_floor(kube, garden.api, template, count)
        operator.start()
        operator.wait_until_leading()
        created, conditions, pods = await start_of_jobs(kube, garden, count)
        writes = operator.writes()
        _wait_until_settled(operator, count)
        first = _Costs.of(operator)
        operator.stop()
        restarted = time.monotonic()
        operator.start()
        _wait_until_settled(operator, count)
        idle = time.monotonic() - restarted
        second = _Costs.of(operator)
        return Figures(
            machine=machine(),
            jobs=count,
            floor_pods_running=floor_seconds,
            created=created,
            first_conditions=conditions,
            pods_running=pods,
            cpu_seconds=first.cpu_seconds,
            rss_mib=first.rss_mib,
            peak_mib=first.peak_mib,
            writes_per_job=sum(writes.values()) / count,
            writes=writes,
            reconciles=first.reconciles,
            restart_idle=idle,
            restart_cpu_seconds=second.cpu_seconds,
            restart_peak_mib=second.peak_mib,
            restart_writes=sum(operator.writes().values()),
        )
    finally:
        operator.kill()
        await kube.close()


@dataclass(frozen=True)
class _Costs:
    cpu_seconds: float
    rss_mib: float
    peak_mib: float
    reconciles: int

    @classmethod
    def of(cls, operator: OperatorProcess) -> _Costs:
        status = Path(f"/proc/{operator.pid}/status").read_text()
        peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
        return cls(
            cpu_seconds=operator.metric("process_cpu_seconds_total"),
            rss_mib=operator.metric("process_resident_memory_bytes") / 2**20,
            peak_mib=int(peak) / 1024,
            reconciles=int(operator.metric("modelgarden_reconcile_seconds_count")),
        )


async def _prepare_template(kube: Kube, garden: Garden) -> Obj:
    """Return the pod template that the operator makes, so that the plain Jobs cost the same."""
    name = "template"
    await kube.create(job_manifest(garden, name))

    def made() -> Obj | None:
        return garden.api.get(JOBS, garden.namespace, f"{name}-prepare")

    job = await asyncio.to_thread(wait_for, made)
    await kube.delete(FINETUNEJOBS, garden.namespace, name)
    assert job is not None
    pod = job["spec"]["template"]
    own = ("controller-uid", "job-name")
    labels = {key: value for key, value in pod["metadata"]["labels"].items() if not key.endswith(own)}
    return {
        "metadata": {"labels": {**labels, "app.kubernetes.io/managed-by": "bench"}, "annotations": STAYS},
        "spec": pod["spec"],
    }


async def _measure_floor(kube: Kube, api: Api, template: Obj, count: int) -> float:
    namespace = create_namespace(api)
    try:
        return await floor(kube, namespace, template, count)
    finally:
        api.delete(NAMESPACES, None, namespace)
        # The namespace itself: its Jobs and events are deleted after its pods, which costs the API server seconds.
        await asyncio.to_thread(
            wait_for, lambda: api.get(NAMESPACES, None, namespace) is None, 300, what="the plain Jobs to go"
        )


def _plain_job(namespace: str, name: str, template: Obj) -> Obj:
    metadata = {"namespace": namespace, "name": name}
    spec = {"backoffLimit": 2, "template": template}
    return {"apiVersion": JOBS.api_version, "kind": JOBS.kind, "metadata": metadata, "spec": spec}


def _wait_until_settled(operator: OperatorProcess, count: int) -> None:
    def settled() -> bool:
        return (
            operator.metric("modelgarden_reconcile_seconds_count") >= count
            and operator.metric("modelgarden_queue_depth") == 0
            and operator.metric("modelgarden_reconciles_running") == 0
        )

    wait_for(settled, 300, what="an idle operator", longest_pause=CLOSE_POLL_SECONDS)


def machine() -> str:
    """Return processor, cores and memory."""
    models = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB"


def run(*, count: int, nodes: int, folder: Path) -> Figures:
    """Start everything, measure, stop everything."""
    with ExitStack() as stack:
        control_plane = start_control_plane(folder / "control-plane", scheduler=True)
        stack.callback(control_plane.stop)
        kwok = start_kwok(control_plane, FakeNodes(count=nodes))
        stack.callback(kwok.stop)
        s3 = start_s3(folder / "s3")
        stack.callback(s3.stop)
        install(control_plane)
        api = Api(control_plane.kubeconfig)
        garden = Garden(api, s3, create_namespace(api))
        garden.plant()
        return asyncio.run(measure(control_plane, garden, folder, count=count))


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000, help="FineTuneJobs that are created at once")
    parser.add_argument("--nodes", type=int, default=10, help="fake nodes")
    parser.add_argument("--check", action="store_true", help="fail where a limit is exceeded")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="modelgarden-scale-") as folder:
        figures = run(count=arguments.jobs, nodes=arguments.nodes, folder=Path(folder))
    times = {name: getattr(figures, name) for name in ("first_conditions_floors", "pods_running_floors")}
    for name, value in {**asdict(figures), **times}.items():
        print(f"{name:24} {value:.1f}" if isinstance(value, float) else f"{name:24} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(figures), indent=2) + "\n")
    exceeded = figures.exceeded(Limits()) if arguments.check else []
    for line in exceeded:
        print(f"LIMIT EXCEEDED: {line}")
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())

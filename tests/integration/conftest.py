"""A real kube-apiserver with etcd and controller-manager, a real S3 server, and the operator as a process.

MODELGARDEN_TEST_KUBECONFIG names the kubeconfig of a control plane of hack/cluster that runs already; the tests then use
it and leave it running, with their namespaces in it.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from hack.cluster import ControlPlane, S3Server, start_control_plane, start_s3
from hack.cluster.control_plane import ControlPlaneOptions, Endpoints
from modelgarden.kube.resources import FINETUNEJOBS, MODELDEPLOYMENTS
from tests.integration.harness.api import NAMESPACES, SERVICE_ACCOUNTS, Api, Obj
from tests.integration.harness.garden import Garden
from tests.integration.harness.gcs import GcsServer
from tests.integration.harness.node import FakeNode
from tests.integration.harness.process import PROGRAM, OperatorProcess
from tests.integration.harness.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
RUNNING = "MODELGARDEN_TEST_KUBECONFIG"
LEASE_NAMESPACE = "modelgarden-system"
LONGEST_FIRST = (
    "test_finetune_blocked.py", "test_trainer_s3.py", "test_serving_waiting.py", "test_trainer_hub.py",
    "test_finetune_crash.py", "test_runtime_faults.py", "test_runtime_leadership.py", "test_serving_rollout.py",
    "test_energy_traps.py", "test_finetune_life_cycle.py", "test_runtime_outage.py", "test_trainer_local.py",
    "test_finetune_main_path.py", "test_crd_equivalence.py", "test_chart.py", "test_runtime_restart.py",
    "test_serving_restart.py", "test_upgrade.py", "test_trainer_merge.py", "test_serving_fetch.py", "test_runtime_health.py",
    "test_registry.py", "test_finetune_invalid_spec.py", "test_rollout_simulation.py", "test_supervise.py",
    "test_s3.py", "test_trainer_supervisor.py", "test_trainer_trackers.py", "test_dvc_source.py", "test_registry_gcs.py",
)  # fmt: skip
"""Files of tests that take more than ten seconds; those that compute stand apart, not to be in each other's way."""

CONTROLLERS = (
    "clusterrole-aggregation-controller", "deployment-controller", "endpointslice-controller",
    "garbage-collector-controller", "job-controller", "namespace-controller", "pod-garbage-collector-controller",
    "replicaset-controller", "resourcequota-controller", "root-ca-certificate-publisher-controller",
    "serviceaccount-controller", "serviceaccount-token-controller", "ttl-after-finished-controller",
)  # fmt: skip
"""Those that have to do with objects of the tests. All others cost each worker's control plane 0.7 s of CPU a minute."""

StartOperator = Callable[..., OperatorProcess]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, and put long files first.

    Workers take files in this order: a long one at the end would keep all the others waiting.
    """
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in here:
        item.add_marker(pytest.mark.integration)
    files = dict.fromkeys([*LONGEST_FIRST, *(item.path.name for item in items)])
    order = {name: place for place, name in enumerate(files)}
    items.sort(key=lambda item: order[item.path.name])


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The control plane, with the CRDs."""
    running = os.environ.get(RUNNING)
    if running:
        found = ControlPlane(Path(running).parent, Endpoints.free(), ControlPlaneOptions())
        install(found)
        yield found
        return
    started = start_cluster(tmp_path_factory.mktemp("control-plane"))
    try:
        install(started)
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The S3 server."""
    server = start_s3(tmp_path_factory.mktemp("s3"))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    """The GCS server."""
    server = GcsServer(tmp_path_factory.mktemp("gcs"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def api(cluster: ControlPlane) -> Api:
    """The API server as the administrator."""
    return Api(cluster.kubeconfig)


@pytest.fixture
def namespace(api: Api) -> Iterator[str]:
    """A namespace of the test's own. It stays, without resources that an operator would go on with.

    Deleting it would cost the control plane more than all that most tests ask of it.
    """
    name = create_namespace(api)
    yield name
    for resource in (FINETUNEJOBS, MODELDEPLOYMENTS):
        api.delete_all(resource, name)


@pytest.fixture
def garden(api: Api, s3: S3Server, namespace: str) -> Garden:
    """The namespace with credentials, dataset and model."""
    planted = Garden(api, s3, namespace)
    planted.plant()
    return planted


@pytest.fixture
def node(api: Api, namespace: str) -> FakeNode:
    """Who says how the namespace's pods fare."""
    return FakeNode(api, namespace)


@pytest.fixture(scope="module")
def operator(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """One operator for the tests of a module, quick to report progress."""
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    process = OperatorProcess(
        cluster.kubeconfig,
        log,
        {
            "lease_namespace": LEASE_NAMESPACE,
            "lease_name": f"operator-{uuid.uuid4().hex[:6]}",
            "progress_interval_seconds": 1,
            "log_level": "DEBUG",
        },
    )
    yield from at_work(process)


def at_work(process: OperatorProcess) -> Iterator[OperatorProcess]:
    """Give a fixture its operator, from when it leads until it is stopped; its log is shown with a failure."""
    OPERATORS.append(process)
    process.start()
    process.wait_until_leading()
    yield process
    process.stop()
    OPERATORS.remove(process)


@pytest.fixture
def start_operator(cluster: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[StartOperator]:
    """Starts operators that serve the test's namespace only; all of them share one Lease in it."""
    started: list[OperatorProcess] = []

    def start(
        *, leading: bool = True, program: Sequence[str] = PROGRAM, **settings: object
    ) -> OperatorProcess:
        log = tmp_path / f"operator-{len(started)}.log"
        own = {"watch_namespaces": namespace, "lease_namespace": namespace, "log_level": "DEBUG"}
        process = OperatorProcess(cluster.kubeconfig, log, {**own, **settings}, program=program)
        started.append(process)
        OPERATORS.append(process)
        process.start()
        if leading:
            process.wait_until_leading()
        return process

    yield start
    for process in started:
        process.kill()
        OPERATORS.remove(process)


OPERATORS: list[OperatorProcess] = []


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the operators' logs with a failure."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed:
        for process in OPERATORS:
            report.sections.append((f"operator log {process.log.name}", process.tail()))


def start_cluster(folder: Path) -> ControlPlane:
    """Start a control plane that takes little CPU time."""
    # The programs are Go's; thousands of small requests leave more garbage than it takes memory to collect it seldom.
    os.environ.setdefault("GOGC", "400")
    return start_control_plane(folder, controllers=CONTROLLERS)


def create_namespace(api: Api) -> str:
    """Create a namespace in which pods can be created at once, and return its name."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    api.create(NAMESPACES, {"metadata": {"name": name}})
    # Pods are refused until the namespace has its service account, which a busy machine's controllers bring late.
    api.apply(SERVICE_ACCOUNTS, {
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name},
    })  # fmt: skip
    return name


def install(control_plane: ControlPlane) -> None:
    control_plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    wait_until_served(control_plane)
    control_plane.kubectl(
        "apply", "-f", "-",
        stdin=f'{{"apiVersion": "v1", "kind": "Namespace", "metadata": {{"name": "{LEASE_NAMESPACE}"}}}}',
    )  # fmt: skip


def wait_until_served(control_plane: ControlPlane) -> None:
    """Wait until the API server serves every CRD. `kubectl wait` would end with an error at one without conditions."""

    def established(crd: Obj) -> bool:
        conditions = crd.get("status", {}).get("conditions") or []
        return ("Established", "True") in [(one["type"], one["status"]) for one in conditions]

    def served() -> bool:
        found = json.loads(control_plane.kubectl("get", "crd", "-o", "json"))["items"]
        return bool(found) and all(map(established, found))

    wait_for(served, what="the CRDs to be served")

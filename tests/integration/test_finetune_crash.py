"""The operator is killed again and again: every job still has one prepare Job, one train Job and one version."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from hack.cluster import ControlPlane
from modelgarden.api.names import FINETUNEJOB_LABEL, STEP_LABEL
from modelgarden.kube.resources import FINETUNEJOBS, JOBS, PODS
from tests.integration.conftest import StartOperator
from tests.integration.harness.api import Api, Refused, phase
from tests.integration.harness.garden import Garden
from tests.integration.harness.node import FakeNode
from tests.integration.harness.waiting import wait_for
from tests.integration.trainer import Trainer

KILLS = 20
JOBS_IN_ALL = 20
LONGEST_LIFE_SECONDS = 2.5
POLL_SECONDS = 0.2
"""Of an operator between its start to work and its death."""


class Nodes:
    """Moves every pod of the namespace along, and remembers every Job that it ever saw."""

    def __init__(self, garden: Garden, kubeconfig: Path) -> None:
        self._garden = garden
        self._api = Api(kubeconfig)
        self._node = FakeNode(self._api, garden.namespace)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.jobs: dict[str, set[str]] = defaultdict(set)
        self.pods: dict[str, set[str]] = defaultdict(set)

    def __enter__(self) -> Nodes:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._look()
            except Refused:  # it changed meanwhile
                continue
            self._stop.wait(POLL_SECONDS)

    def _look(self) -> None:
        for job in self._api.list(JOBS, self._garden.namespace):
            self.jobs[job["metadata"]["name"]].add(job["metadata"]["uid"])
        for pod in self._api.list(PODS, self._garden.namespace):
            labels = pod["metadata"]["labels"]
            name = labels["batch.kubernetes.io/job-name"]
            self.pods[name].add(pod["metadata"]["uid"])
            if pod["status"]["phase"] == "Pending":
                self._node.run(name)
            elif pod["status"]["phase"] == "Running":
                owner = self._api.finetunejob(self._garden.namespace, labels[FINETUNEJOB_LABEL])
                trainer = Trainer.of(self._garden, owner)
                step = trainer.prepare if labels[STEP_LABEL] == "prepare" else trainer.train
                self._node.succeed(name, step())


@pytest.mark.timeout(900)
def test_an_operator_killed_at_random_moments_does_nothing_twice(
    garden: Garden, cluster: ControlPlane, start_operator: StartOperator, figure: Callable[[str], None]
) -> None:
    seed = int(os.environ.get("MODELGARDEN_TEST_SEED", random.randrange(10**6)))
    chance = random.Random(seed)
    names = [f"bot-{number}" for number in range(JOBS_IN_ALL)]
    # Without the Lease, which a killed process leaves behind for its time, a restart works at once.
    operator = start_operator(leader_election=False)
    with Nodes(garden, cluster.kubeconfig) as nodes:
        for name in names:
            garden.create_finetunejob(
                name, output={"uri": f"s3://{garden.bucket}/garden", "modelName": "bot"}
            )
            life = chance.uniform(0, LONGEST_LIFE_SECONDS)
            time.sleep(life)  # the random moment itself
            operator.kill()
            operator.start()
            operator.wait_until_leading()
        for name in names:
            wait_for(lambda name=name: phase(garden.finetunejob(name)) == "Complete", 120, what=name)  # type: ignore[misc]

    prepares = [len(nodes.jobs[f"{name}-prepare"]) for name in names]
    trains = [len(nodes.jobs[f"{name}-train"]) for name in names]
    pods = [len(nodes.pods[f"{name}-{step}"]) for name in names for step in ("prepare", "train")]
    records = [
        garden.read_json(key) for key in garden.keys(f"garden/models/{garden.namespace}/bot/versions/")
    ]
    registered = [record["run"]["uid"] for record in records]
    jobs = garden.api.list(FINETUNEJOBS, garden.namespace)
    versions = [registered.count(job["metadata"]["uid"]) for job in jobs]
    figure(
        f"{KILLS} kills, {JOBS_IN_ALL} jobs, seed {seed}: prepare Jobs per job {set(prepares)}, train Jobs "
        f"{set(trains)}, pods per Job {set(pods)}, versions {set(versions)}"
    )
    assert set(prepares) == set(trains) == set(pods) == set(versions) == {1}
    assert sorted(record["version"] for record in records) == list(range(1, JOBS_IN_ALL + 1))
    assert {job["status"]["artifact"]["version"] for job in jobs} == set(range(1, JOBS_IN_ALL + 1))

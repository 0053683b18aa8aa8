"""What Kueue and the operator do to the same Jobs: trainings start whole, wait, give way and are resumed.

The queue and the training on two nodes are those of `examples/gpus`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelgarden.kube.resources import FINETUNEJOBS, JOBS, NODES, PODS
from tests.integration.harness.api import Obj, condition, path_of, phase, reason
from tests.integration.harness.garden import Garden
from tests.integration.harness.node import FakeNode, NodeOfIndex
from tests.integration.harness.process import OperatorProcess
from tests.integration.harness.waiting import wait_for
from tests.integration.trainer import Trainer
from tests.kueue.kueue import CLUSTER_QUEUES, LOCAL_QUEUES, RESOURCES, WORKLOADS

pytestmark = pytest.mark.usefixtures("kueue", "operator")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "gpus"
QUEUE, PRIORITY = "kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class"
TOLD_SECONDS = 90.0
AGAIN_SECONDS = 180.0


class Queue:
    """The queue of the example, with objects of the whole cluster under names of this test's own."""

    def __init__(self, garden: Garden) -> None:
        self.garden, self.api = garden, garden.api
        self.name = self._own("gpus")
        for one in yaml.safe_load_all((EXAMPLES / "queue.yaml").read_text()):
            if "namespace" in one["metadata"]:
                one["metadata"]["namespace"] = garden.namespace
                one["spec"]["clusterQueue"] = self.name
            else:
                one["metadata"]["name"] = self._own(one["metadata"]["name"])
            for group in one.get("spec", {}).get("resourceGroups", ()):
                for flavor in group["flavors"]:
                    flavor["name"] = self._own(flavor["name"])
            self.api.apply(RESOURCES[one["kind"]], one)

    def _own(self, name: str) -> str:
        return f"{name}-{self.garden.namespace}"

    def urgent(self) -> dict[str, Any]:
        """Return the podTemplate of a job that takes the place of others."""
        return {"labels": {QUEUE: "gpus", PRIORITY: self._own("urgent")}}

    def stop(self, policy: str) -> None:
        """Have it admit nothing (Hold), take back what it admitted too (HoldAndDrain), or work (None)."""
        queue = {"metadata": {"name": self.name}}
        self.api.merge(CLUSTER_QUEUES, queue, {"spec": {"stopPolicy": policy}})

    def workload_of(self, job: str) -> Obj | None:
        """Return what Kueue made of a Job."""
        found = self.api.get(JOBS, self.garden.namespace, job)
        uid = found["metadata"]["uid"] if found is not None else ""
        every = self.api.list(WORKLOADS, self.garden.namespace)
        return next((one for one in every if _owner(one)["uid"] == uid), None)

    def admitted(self, job: str) -> Obj:
        """Wait until a Job is admitted; return its workload."""

        def there() -> Obj:
            found = self.workload_of(job)
            assert found is not None, f"{job} is unknown to Kueue"
            assert condition(found, "Admitted").get("status") == "True", found.get("status")
            return found

        return wait_for(there, TOLD_SECONDS, what=f"the admission of {job}")


def _owner(obj: Obj) -> Obj:
    owner: Obj = obj["metadata"]["ownerReferences"][0]
    return owner


class Training:
    """A FineTuneJob on two nodes, as the example has it, and the nodes that run its pods."""

    def __init__(self, garden: Garden, name: str, **spec: Any) -> None:
        example = yaml.safe_load((EXAMPLES / "two-nodes.yaml").read_text())["spec"]
        kept = {field: example[field] for field in ("training", "resources", "podTemplate")}
        self.name, self.job = name, f"{name}-train"
        self.garden = garden
        self.trainer = Trainer.of(garden, garden.create_finetunejob(name, **kept | spec))
        self._node = FakeNode(garden.api, garden.namespace)
        self.size = (kept | spec)["resources"].get("nodes", 1)

    @property
    def status(self) -> Obj:
        """What is said of it."""
        found: Obj = self.garden.finetunejob(self.name).get("status", {})
        return found

    def attempted(self, *reasons: str | None) -> None:
        """Wait until its attempts have ended for these reasons, None for one that has not."""

        def so() -> bool:
            found = [one.get("reason") for one in self.status.get("attempts", ())]
            assert found == list(reasons)
            return True

        wait_for(so, TOLD_SECONDS, what=f"the attempts of {self.name}")

    def prepare(self) -> None:
        """Run its prepare Job to its end."""
        job = f"{self.name}-prepare"
        self._node.wait_for_pod(job, TOLD_SECONDS)
        self._node.run(job)
        self._node.succeed(job, self.trainer.prepare())

    def told(self, want: str, kind: str = "Running") -> str:
        """Wait for a reason of a condition; return its message."""

        def reached() -> Obj:
            found = self.garden.finetunejob(self.name)
            assert reason(found, kind) == want, found.get("status")
            return condition(found, kind)

        return str(wait_for(reached, TOLD_SECONDS, what=f"{kind} of {self.name} for {want}")["message"])

    def job_body(self) -> Obj:
        """Return its training's Job."""

        def there() -> Obj | None:
            return self.garden.api.get(JOBS, self.garden.namespace, self.job)

        return wait_for(lambda: there() or {}, TOLD_SECONDS, what=f"Job {self.job}")

    def pods(self) -> list[Obj]:
        """Return the pods that its training has, ending ones too."""
        return self._node.pods(self.job)

    def run(self, *, other_than: frozenset[str] = frozenset()) -> frozenset[str]:
        """Have all pods of an attempt run, each on its node; return their UIDs."""

        def all_there() -> list[Obj]:
            found = self._node.active_pods(self.job)
            assert len(found) == self.size
            assert other_than.isdisjoint(pod["metadata"]["uid"] for pod in found)
            return found

        pods = wait_for(all_there, AGAIN_SECONDS, what=f"all pods of {self.job}")
        for index, pod in enumerate(sorted(pods, key=lambda one: str(one["metadata"]["name"]))):
            self._bind(pod)
            self._player(index).run(self.job)
        self.told("Training")
        return frozenset(pod["metadata"]["uid"] for pod in pods)

    def complete(self) -> None:
        """End it well."""
        left = self.trainer.train()
        for index in reversed(range(self.size)):
            self._player(index).succeed(self.job, left if index == 0 else None)
        wait_for(lambda: phase({"status": self.status}) == "Complete", TOLD_SECONDS, what="Complete")

    def give_way(self) -> None:
        """End its pods as kubelets do of pods that are deleted: after SIGTERM, which has the trainer save and exit."""

        def all_end() -> list[Obj]:
            found = [pod for pod in self.pods() if "deletionTimestamp" in pod["metadata"]]
            assert len(found) == self.size
            return found

        for pod in wait_for(all_end, TOLD_SECONDS, what=f"the end of the pods of {self.job}"):
            self._node.stopped(pod, exit_code=143)

    def change(self, **spec: Any) -> None:
        """Change its spec."""
        self.garden.api.merge(FINETUNEJOBS, self.garden.finetunejob(self.name), {"spec": spec})

    def _player(self, index: int) -> FakeNode:
        if self.size == 1:
            return self._node
        return NodeOfIndex(self.garden.api, self.garden.namespace, index)

    def _bind(self, pod: Obj) -> None:
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        where = f"of-{namespace}"
        self.garden.api.apply(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": where}})
        binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": where}}
        self.garden.api.call("POST", f"{path_of(PODS, namespace, name)}/binding", binding)


@pytest.fixture
def queue(kueue: object, garden: Garden) -> Queue:
    return Queue(garden)


def test_of_two_trainings_the_second_waits_whole_until_the_first_has_ended(
    garden: Garden, queue: Queue
) -> None:
    first = Training(garden, "first")
    first.prepare()
    (pods,) = queue.admitted(first.job)["status"]["admission"]["podSetAssignments"]
    assert (pods["count"], pods["resourceUsage"]["nvidia.com/gpu"]) == (2, "16")
    first.run()
    selector = first.job_body()["spec"]["template"]["spec"]["nodeSelector"]
    assert selector == {"nvidia.com/gpu.present": "true"}

    second = Training(garden, "second")
    second.prepare()
    message = second.told("Queued")

    assert "gpus" in message
    assert "kubectl describe workload" in message
    assert second.status["phase"] == "Pending"
    assert second.job_body()["spec"]["suspend"] is True
    assert second.pods() == []

    first.complete()
    queue.admitted(second.job)
    second.run()
    second.complete()
    second.attempted("Completed")


def test_a_training_gives_way_to_an_urgent_one_and_is_resumed_which_is_no_failure(
    garden: Garden, queue: Queue
) -> None:
    first = Training(garden, "first", backoffLimit=0, interruptionLimit=1)
    first.prepare()
    before = first.run()
    uid = first.job_body()["metadata"]["uid"]

    urgent = Training(garden, "urgent", podTemplate=queue.urgent())
    urgent.prepare()
    first.give_way()
    urgent.run()
    first.told("Queued")
    first.attempted("Preempted")
    assert first.pods() == []
    assert "nodeSelector" not in first.job_body()["spec"]["template"]["spec"]

    urgent.complete()
    first.run(other_than=before)
    first.attempted("Preempted", None)
    assert first.job_body()["metadata"]["uid"] == uid
    first.complete()


def test_a_place_that_is_taken_and_given_again_while_nobody_looks_is_a_preemption_too(
    garden: Garden, queue: Queue, operator: OperatorProcess
) -> None:
    job = Training(garden, "bot", backoffLimit=0, interruptionLimit=1)
    job.prepare()
    before = job.run()
    (started,) = (one["startTime"] for one in job.status["attempts"])
    # Kubernetes tells times in whole seconds: what happens later is to be told from the start.
    wait_for(
        lambda: datetime.now(UTC) > datetime.fromisoformat(started) + timedelta(seconds=1), what="a second"
    )

    operator.stop()
    try:
        queue.stop("HoldAndDrain")
        job.give_way()
        wait_for(lambda: not job.pods(), TOLD_SECONDS, what="no pod")
        queue.stop("None")
        wait_for(lambda: len(job.pods()) == 2, TOLD_SECONDS, what="pods again")
    finally:
        operator.start()
        operator.wait_until_leading()

    job.run(other_than=before)
    job.attempted("Preempted", None)


def test_suspension_leaves_the_place_to_others_and_resuming_queues_again(
    garden: Garden, queue: Queue
) -> None:
    first = Training(garden, "first", backoffLimit=0)
    first.prepare()
    before = first.run()
    second = Training(garden, "second")
    second.prepare()
    second.told("Queued")

    first.change(suspend=True)
    first.give_way()
    second.run()
    first.attempted("Suspended")
    assert garden.api.get(JOBS, garden.namespace, first.job) is None

    first.change(suspend=False)
    first.told("Queued")
    assert first.pods() == []
    second.complete()
    first.run(other_than=before)
    first.attempted("Suspended", None)


def test_a_namespaces_default_queue_and_a_suspension_do_not_fight(garden: Garden, queue: Queue) -> None:
    """Kueue gives Jobs without a label that of the LocalQueue `default`: no word of a queue stands in the spec."""
    spec = {"clusterQueue": queue.name}
    metadata = {"name": "default", "namespace": garden.namespace}
    local = {"apiVersion": LOCAL_QUEUES.api_version, "kind": LOCAL_QUEUES.kind, "metadata": metadata}
    garden.api.apply(LOCAL_QUEUES, local | {"spec": spec})
    wait_for(
        lambda: condition(
            garden.api.get(LOCAL_QUEUES, garden.namespace, "default") or {}, "Active"
        ).get("status") == "True",
        TOLD_SECONDS,
        what="the default queue",
    )  # fmt: skip
    one = {"gpus": 1, "cpu": "1", "memory": "1Gi"}
    job = Training(garden, "bot", podTemplate={}, resources=one, backoffLimit=0)
    job.prepare()
    before = job.run()
    assert job.job_body()["metadata"]["labels"][QUEUE] == "default"

    job.change(suspend=True)
    job.give_way()
    job.attempted("Suspended")
    wait_for(lambda: not job.pods(), TOLD_SECONDS, what="no pod")
    wait_for(
        lambda: garden.api.get(JOBS, garden.namespace, job.job) is None,
        TOLD_SECONDS,
        what="the end of the Job",
    )
    assert job.status["phase"] == "Suspended"

    job.change(suspend=False)
    queue.admitted(job.job)
    job.run(other_than=before)
    job.attempted("Suspended", None)


def test_a_prepare_job_is_queued_too_for_cpu_alone_and_says_so(garden: Garden, queue: Queue) -> None:
    queue.stop("Hold")
    job = Training(garden, "bot")
    message = job.told("Queued", "DatasetReady")
    assert "bot-prepare" in message
    assert job.status["phase"] == "Preparing"

    queue.stop("None")
    admission = queue.admitted("bot-prepare")["status"]["admission"]
    (pods,) = admission["podSetAssignments"]
    assert set(pods["flavors"]) == {"cpu", "memory"}
    assert all(flavor.startswith("without-gpus") for flavor in pods["flavors"].values())
    job.prepare()
    job.run()


def test_a_changed_limit_of_a_running_training_leaves_it_where_the_queue_put_it(
    garden: Garden, queue: Queue
) -> None:
    one = {"gpus": 1, "cpu": "1", "memory": "1Gi"}
    job = Training(garden, "bot", resources=one)
    job.prepare()
    before = job.run()
    admitted = job.job_body()["spec"]["template"]

    job.change(backoffLimit=9)
    wait_for(lambda: job.job_body()["spec"]["backoffLimit"] == 9, TOLD_SECONDS, what="the new limit")
    assert job.job_body()["spec"]["template"] == admitted

    queue.stop("HoldAndDrain")
    job.give_way()
    job.told("Queued")
    assert "nodeSelector" not in job.job_body()["spec"]["template"]["spec"]
    job.change(backoffLimit=8)
    wait_for(lambda: job.job_body()["spec"]["backoffLimit"] == 8, TOLD_SECONDS, what="the newer limit")
    assert job.job_body()["spec"]["suspend"] is True

    queue.stop("None")
    job.run(other_than=before)
    assert job.job_body()["spec"]["template"] == admitted
    job.attempted("Preempted", None)

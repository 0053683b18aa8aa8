"""A stand-in for the nodes: the control plane is real, so somebody must say how the pods fare.

It writes what a kubelet writes into a pod's status: running with an IP, ended with an exit code and a message.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from modelgarden.api.pods import TerminationMessage
from modelgarden.kube.resources import PODS
from tests.integration.harness.api import Api, Obj, Refused, path_of
from tests.integration.harness.waiting import wait_for

IMAGE_ID = "registry.example.com/train@sha256:" + "0" * 64


class FakeNode:
    """Plays the kubelet for the pods of one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    def pods(self, job: str) -> list[Obj]:
        """Return a Job's pods, oldest first."""
        found = self._api.list(PODS, self._namespace, f"batch.kubernetes.io/job-name={job}")
        return sorted(found, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))

    def active_pods(self, job: str) -> list[Obj]:
        """Return a Job's pods that have not ended and are not being deleted."""
        return [
            pod
            for pod in self.pods(job)
            if pod["status"].get("phase") in ("Pending", "Running")
            and "deletionTimestamp" not in pod["metadata"]
        ]

    def wait_for_pod(self, job: str, timeout: float = 30.0) -> Obj:
        """Return the Job's active pod once there is one."""
        return wait_for(lambda: self.active_pods(job), timeout, what=f"a pod of {job}")[-1]

    def run(self, job: str, *, ip: str = "127.0.0.1") -> Obj:
        """Have the Job's pod run with an IP; return it."""
        pod = self.wait_for_pod(job)
        state = {"running": {"startedAt": _now()}}
        return self._write(pod, phase="Running", state=state, ip=ip, ready=True)

    def succeed(self, job: str, message: TerminationMessage | None = None) -> Obj:
        """End the Job's pod with exit code 0."""
        return self.end(job, exit_code=0, message=message)

    def end(
        self, job: str, *, exit_code: int, message: TerminationMessage | str | None = None, reason: str = ""
    ) -> Obj:
        """End the Job's pod with an exit code, a termination message and a reason such as OOMKilled."""
        pod = self.wait_for_pod(job)
        text = message.encode() if isinstance(message, TerminationMessage) else message or ""
        terminated = {
            "exitCode": exit_code,
            "reason": reason or ("Completed" if exit_code == 0 else "Error"),
            "message": text,
            "startedAt": pod["metadata"]["creationTimestamp"],
            "finishedAt": _now(),
        }
        phase = "Succeeded" if exit_code == 0 else "Failed"
        return self._write(pod, phase=phase, state={"terminated": terminated}, ip="", ready=False)

    def wait_reason(self, job: str, reason: str, message: str) -> Obj:
        """Have the Job's pod wait in its container, such as for ImagePullBackOff."""
        pod = self.wait_for_pod(job)
        state = {"waiting": {"reason": reason, "message": message}}
        return self._write(pod, phase="Pending", state=state, ip="", ready=False)

    def unschedulable(self, job: str, message: str) -> Obj:
        """Say of the Job's pod what a scheduler says that finds no node."""
        pod = self.wait_for_pod(job)
        unscheduled = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastTransitionTime": _now(),
        }
        status = {"phase": "Pending", "conditions": [unscheduled]}
        return self._api.merge(PODS, pod, {"status": status}, subresource="status")

    def evict(
        self,
        job: str,
        *,
        reason: str = "PreemptionByScheduler",
        message: str = "preempted",
        exit_code: int = 143,
    ) -> Obj:
        """End the Job's pod as a preempted one: with the DisruptionTarget condition, after its SIGTERM."""
        pod = self.wait_for_pod(job)
        target = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": _now(),
        }
        self._api.merge(PODS, pod, {"status": {"conditions": [target]}}, subresource="status")
        return self.end(job, exit_code=exit_code)

    def stopped(self, pod: Obj, *, exit_code: int = 143) -> None:
        """End a pod that is being deleted, as its kubelet does once its container has ended."""
        state = {"terminated": {"exitCode": exit_code, "reason": "Error", "finishedAt": _now()}}
        ended = self._write(pod, phase="Failed", state=state, ip="", ready=False)
        path = path_of(PODS, self._namespace, ended["metadata"]["name"])
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
        try:
            self._api.call("DELETE", path, options)
        except Refused as refused:
            if refused.status != 404:
                raise

    def _write(self, pod: Obj, *, phase: str, state: dict[str, Any], ip: str, ready: bool) -> Obj:
        containers = [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": IMAGE_ID,
                "ready": ready,
                "restartCount": 0,
                "started": ready,
                "state": state,
            }
            for container in pod["spec"]["containers"]
        ]
        kept = [one for one in pod["status"].get("conditions", []) if one["type"] == "DisruptionTarget"]
        conditions = [
            {"type": kind, "status": "True" if value else "False", "lastTransitionTime": _now()}
            for kind, value in (("PodScheduled", True), ("Initialized", True), ("Ready", ready))
        ]
        status: dict[str, Any] = {
            "phase": phase,
            "startTime": pod["status"].get("startTime", _now()),
            "conditions": [*kept, *conditions],
            "containerStatuses": containers,
        }
        if ip:
            status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
        return self._api.merge(PODS, pod, {"status": status}, subresource="status")


class NodeOfIndex(FakeNode):
    """Plays the kubelet for the pods of one index of Indexed Jobs."""

    def __init__(self, api: Api, namespace: str, index: int) -> None:
        super().__init__(api, namespace)
        self._index = index

    def pods(self, job: str) -> list[Obj]:
        """Return a Job's pods of the index, oldest first."""
        return [pod for pod in super().pods(job) if index_of(pod) == self._index]


def index_of(pod: Obj) -> int:
    """Return a pod's index of its Indexed Job."""
    return int(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

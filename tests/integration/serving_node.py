"""A stand-in for the nodes of serving pods: so many places, pods that become ready, crash, or find no place.

Pods of no node are gone at once when they are deleted, as there is no kubelet that drains them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from modelgarden.api import names
from modelgarden.api.pods import TerminationMessage
from modelgarden.kube.resources import DEPLOYMENTS, PODS
from tests.integration.harness.api import Api, Obj, Refused
from tests.integration.harness.waiting import CLOSE_POLL_SECONDS, wait_for

IDLE_ADDRESS = "127.0.0.250"
"""Nothing answers here: a pod that does not tell its energy."""
NO_GPU = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."

Healthy = Callable[[Obj], bool]


class ServingNode:
    """Plays scheduler and kubelet for the pods of one ModelDeployment."""

    def __init__(self, api: Api, namespace: str, name: str = "bot", *, places: int = 10) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self.places = places
        self.healthy: Healthy = lambda _: True
        """Which pods become ready; the others crash."""
        self.answering: Healthy = lambda _: True
        """Which pods become ready as soon as they run; the others load until `answer`."""
        self.exit_code = 1
        self.last_words = "vLLM ended before it was ready"
        """What those that crash leave."""
        self.addresses: dict[str, str] = {}
        """IPs of pods by name, where a test answers for them."""
        self.fewest_ready = 10**6
        """Fewest ready pods that were seen between two ticks."""

    def pods(self) -> list[Obj]:
        """Return the pods, oldest first."""
        found = self._api.list(PODS, self._namespace, f"{names.MODELDEPLOYMENT_LABEL}={self._name}")
        return sorted(found, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))

    def ready(self) -> list[Obj]:
        """Return the pods that are ready."""
        return [pod for pod in self.pods() if _is_ready(pod)]

    def deployments(self) -> dict[str, Obj]:
        """Return the Deployments by revision."""
        found = self._api.list(DEPLOYMENTS, self._namespace, f"{names.MODELDEPLOYMENT_LABEL}={self._name}")
        return {one["metadata"]["labels"][names.REVISION_LABEL]: one for one in found}

    def tick(self) -> None:
        """Give every pod its place and its state."""
        pods = self.pods()
        self.fewest_ready = min(self.fewest_ready, sum(_is_ready(pod) for pod in pods))
        placed = [pod for pod in pods if pod["status"].get("podIP")]
        free = self.places - len(placed)
        for pod in pods:
            if pod["status"].get("podIP"):
                continue
            if free > 0:
                free -= 1
                self._start(pod)
            elif not pod["status"].get("conditions"):
                self._refuse(pod)

    def play_until(self, condition: Callable[[], Any], timeout: float = 60.0, *, what: str = "") -> Any:
        """Tick until the condition holds."""

        def ticked() -> Any:
            self.tick()
            return condition()

        return wait_for(ticked, timeout, what=what, longest_pause=CLOSE_POLL_SECONDS)

    def answer(self, pod: Obj) -> None:
        """Have a pod that loads become ready."""
        self._write(pod, state={"running": {"startedAt": _now()}}, ready=True)

    def _start(self, pod: Obj) -> None:
        if self.healthy(pod):
            self._write(pod, state={"running": {"startedAt": _now()}}, ready=self.answering(pod))
            return
        message = TerminationMessage(reason="PodsFailing", message=self.last_words).encode()
        ended = {
            "exitCode": self.exit_code, "reason": "Error", "message": message,
            "startedAt": _now(), "finishedAt": _now(),
        }  # fmt: skip
        waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
        self._write(pod, state=waiting, ready=False, last={"terminated": ended})

    def _refuse(self, pod: Obj) -> None:
        unscheduled = {
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_GPU,
            # As if it had waited for a while already.
            "lastTransitionTime": _now(ago=60),
        }  # fmt: skip
        self._status(pod, {"phase": "Pending", "conditions": [unscheduled]})

    def _write(
        self, pod: Obj, *, state: Mapping[str, Any], ready: bool, last: Mapping[str, Any] | None = None
    ) -> None:
        container = {
            "name": "serve", "image": pod["spec"]["containers"][0]["image"], "imageID": "x", "ready": ready,
            "restartCount": 2 if last else 0, "started": ready, "state": state, "lastState": last or {},
        }  # fmt: skip
        address = self.addresses.get(pod["metadata"]["name"], IDLE_ADDRESS)
        conditions = [
            {"type": kind, "status": "True" if value else "False", "lastTransitionTime": _now()}
            for kind, value in (("PodScheduled", True), ("Initialized", True), ("Ready", ready))
        ]
        status = {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions,
            "containerStatuses": [container],
        }  # fmt: skip
        self._status(pod, status)

    def _status(self, pod: Obj, status: Mapping[str, Any]) -> None:
        try:
            self._api.merge(PODS, pod, {"status": status}, subresource="status")
        except Refused as error:
            if error.status != HTTPStatus.NOT_FOUND:  # deleted meanwhile
                raise


def _is_ready(pod: Obj) -> bool:
    return any(
        (one["type"], one["status"]) == ("Ready", "True") for one in pod["status"].get("conditions", [])
    )


def _now(*, ago: float = 0) -> str:
    return (datetime.now(UTC) - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")

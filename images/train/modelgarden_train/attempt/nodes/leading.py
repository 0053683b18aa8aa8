"""The other pods of a training as the first one sees them: who has come, who has ended, what they have spent."""

from __future__ import annotations

import logging
import socket
import threading
import time
from typing import Final

from modelgarden.api.emissions import EmissionsRecord
from modelgarden.api.pods import PodGroup
from modelgarden_pod.errors import PodError, UserError
from modelgarden_train.attempt.messages import Message
from modelgarden_train.attempt.nodes.link import (
    Beat,
    Ended,
    Hello,
    Link,
    Published,
    Spent,
    Start,
    Stopping,
    beat,
)
from modelgarden_train.parallel.errors import PodLost

logger = logging.getLogger(__name__)

TOLD_SECONDS: Final = 60.0
"""Between two words about who is still missing."""


class Peers:
    """The other pods; of a training on one node there are none, and nothing is waited for."""

    def __init__(self, group: PodGroup | None, *, run: str) -> None:
        """Take connections from now on.

        Raises:
            UserError: the port is taken.
        """
        self._group = group
        self._nodes = group.nodes if group is not None else 1
        self._run = run
        self._changed = threading.Condition()
        self._links: dict[int, Link] = {}
        self._spent: dict[int, EmissionsRecord] = {}
        self._said: dict[int, Ended] = {}
        self._lost: set[int] = set()
        self._stopped: int | None = None
        self._over = threading.Event()
        self._store: socket.socket | None = None
        if group is None:
            return
        server = _listening(group.port)
        self._store = _listening(0)
        threading.Thread(target=self._accept, args=(server,), name="peers", daemon=True).start()
        beat(Beat, self._all, self._over)

    @property
    def store(self) -> socket.socket | None:
        """Where the workers find each other: the first one of all gets this socket, and the others its port."""
        return self._store

    def gather(self) -> None:
        """Wait until all pods are there.

        Raises:
            PodError: PeersMissing, they are not after a while.
            PodLost: one that was there has ended.
        """
        if self._group is None:
            return
        wanted = self._group.nodes - 1
        until = time.monotonic() + self._group.patience_seconds
        with self._changed:
            while len(self._links) < wanted:
                self.check()
                left = until - time.monotonic()
                if left <= 0:
                    raise PodError("PeersMissing", missing(self._group, self._absent()))
                logger.info("Waits for other pods", extra={"missing": self._absent()})
                self._changed.wait(min(left, TOLD_SECONDS))
        self.check()

    def start(self, *, resume: int | None) -> int | None:
        """Have the others begin with a checkpoint, or without one; return the port where all workers meet."""
        if self._store is None:
            return None
        port: int = self._store.getsockname()[1]
        self._store.close()  # the first worker has it
        self._tell(Start(port=port, resume=resume))
        return port

    def check(self) -> None:
        """Raise that a pod has ended; one that was asked to end may, and all end with it.

        Raises:
            PodLost: another pod has ended, or says nothing any more.
        """
        with self._changed:
            gone = sorted(self._lost | self._said.keys())
            if not gone or self._group is None or self._stopped is not None:
                return
            said = next((node for node in gone if node in self._said), gone[0])
            raise PodLost(gone_words(self._name(said), self._said.get(said)))

    def wait(self, seconds: float) -> None:
        """Give the pods a moment to say why one has ended.

        Raises:
            PodLost: as of `check`.
        """
        with self._changed:
            self._changed.wait_for(lambda: bool(self._lost or self._said), timeout=seconds)
        self.check()

    @property
    def stopping(self) -> bool:
        """Whether another pod was asked to end."""
        return self._stopped is not None

    def stopped(self) -> PodLost:
        """Return that the training was stopped for another pod's sake."""
        name = f"pod {self._name(self._stopped)}" if self._stopped is not None else "another pod"
        return PodLost(f"{name} was stopped, and so all pods of this training after a checkpoint")

    def stop(self) -> None:
        """Tell the others that this pod was asked to end."""
        self._tell(Stopping())

    def published(self) -> None:
        """Tell the others that all is done."""
        self._tell(Published())
        self._over.set()

    def ended(self, reason: str, message: str) -> None:
        """Tell the others that this attempt has ended too early, and how."""
        self._tell(Ended(reason=reason, message=message))
        self._over.set()
        for link in self._all():
            link.close()

    def spent(self) -> tuple[EmissionsRecord, ...]:
        """Return what each of the others has spent, as far as it has said so."""
        with self._changed:
            return tuple(self._spent[node] for node in sorted(self._spent))

    def _name(self, node: int) -> str:
        return self._group.pod(node) if self._group is not None else f"node {node}"

    def _absent(self) -> list[int]:
        return [node for node in range(1, self._nodes) if node not in self._links]

    def _all(self) -> list[Link]:
        with self._changed:
            return list(self._links.values())

    def _tell(self, message: Message) -> None:
        for link in self._all():
            link.send(message)

    def _accept(self, server: socket.socket) -> None:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=self._meet, args=(Link(connection),), name="hello", daemon=True).start()

    def _meet(self, link: Link) -> None:
        hello = link.receive()
        if not isinstance(hello, Hello) or not self._welcome(hello, link):
            link.close()
            return
        node = hello.node
        logger.info("A pod is there", extra={"node": node, "attempt": hello.attempt})
        link.listen(lambda message: self._hear(node, message), lambda: self._lose(node))

    def _welcome(self, hello: Hello, link: Link) -> bool:
        """Take a pod in, where it is one of this training that is not there yet."""
        with self._changed:
            if hello.run != self._run or hello.node >= self._nodes or hello.node in self._links:
                return False
            self._links[hello.node] = link
            self._changed.notify_all()
        return True

    def _hear(self, node: int, message: Message) -> None:
        with self._changed:
            match message:
                case Spent():
                    self._spent[node] = message.emissions
                case Ended():
                    self._said[node] = message
                case Stopping() if self._stopped is None:
                    self._stopped = node
            self._changed.notify_all()
        if isinstance(message, Stopping):
            self._tell(message)

    def _lose(self, node: int) -> None:
        with self._changed:
            self._lost.add(node)
            self._changed.notify_all()


def gone_words(pod: str, said: Ended | None) -> str:
    """Return in words that a pod is gone, and why where it has said so."""
    if said is None:
        return f"pod {pod} does not answer any more; what became of it is why the training ended"
    return f"pod {pod} has ended: {said.reason}: {said.message}"


def missing(group: PodGroup, nodes: list[int]) -> str:
    """Return in words which pods have not come, and what to do."""
    named = ", ".join(group.pod(node) for node in nodes[:8])
    return (
        f"of the {group.nodes} pods of this training, not all came within {group.patience_seconds} s: {named} "
        "did not. See what keeps them from running, and whether a NetworkPolicy lets the pods of this job reach each "
        "other. A queue (Kueue) starts a training only where there is room for all of its pods"
    )


def _listening(port: int) -> socket.socket:
    both = socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            ("", port),
            family=socket.AF_INET6 if both else socket.AF_INET,
            dualstack_ipv6=both,
            backlog=128,
        )
    except OSError as error:
        raise UserError("InvalidConfiguration", f"port {port} cannot be served: {error.strerror}") from error

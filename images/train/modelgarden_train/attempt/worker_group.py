"""The workers of an attempt as their supervisor sees them: one for each GPU of its node, of which the first one reports.

They live and die as one: where one of them ends, none of the others can go on, and the attempt ends with what that one says.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from modelgarden.api.pods import RunConfig
from modelgarden_pod.errors import PodError
from modelgarden_train.attempt.messages import RENDEZVOUS, Begin, Inputs, Made, Message
from modelgarden_train.attempt.worker_process import EXIT_SECONDS, WORKER, WorkerProcess

CAUSE_SECONDS: Final = 5.0
"""How long a worker that only misses another one is held back, for that one to say why it has ended."""


class WorkerGroup:
    """All workers, from their start to their end."""

    def __init__(self, workers: Sequence[WorkerProcess]) -> None:
        self._workers = workers

    @classmethod
    def start(
        cls,
        config: RunConfig,
        workspace: Path,
        *,
        node: int = 0,
        store: socket.socket | None = None,
        command: Sequence[str] = WORKER,
    ) -> Self:
        """Start the workers of a node, which begin with their imports; the first one of all is given the socket."""
        (workspace / RENDEZVOUS).unlink(missing_ok=True)  # of an earlier attempt on this machine
        here = max(1, config.gpus)
        begins = [
            Begin(config=config, workspace=workspace, rank=node * here + local, size=config.nodes * here)
            for local in range(here)
        ]
        if store is not None:
            begins[0] = begins[0].model_copy(update={"listening": store.fileno()})
        return cls([WorkerProcess.start(begin, command=command) for begin in begins])

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes, by rank; each has a session of its own."""
        return tuple(worker.pid for worker in self._workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(seconds=0.0)

    def listen(self, hear: Callable[[Message], None]) -> None:
        """Hear the first worker's reports from now on, and the last words of the others."""
        for worker in self._workers:
            worker.listen(hear if worker is self._first else _take_no_notice)

    def hand_over(self, inputs: Inputs) -> None:
        """Have the workers begin with what was fetched."""
        for worker in self._workers:
            worker.hand_over(inputs)

    def terminate(self) -> None:
        """Ask the workers to end as SIGTERM asks the pod."""
        for worker in self._workers:
            worker.terminate()

    def show_stacks(self) -> None:
        """Have all workers write where their threads stand, and end; the log is whole once they have."""
        for worker in self._workers:
            worker.show_stacks()
        for worker in self._workers:
            worker.wait(EXIT_SECONDS)

    def said_its_last(self, seconds: float) -> bool:
        """Wait for the result, or for a worker that has failed; tell whether it came in time.

        Where they are asked to end the first one is waited for, which still saves the step that all are at.
        """
        return self._first.said_its_last(seconds) or any(
            worker.failed and not worker.was_stopped for worker in self._workers
        )

    def result(self) -> Made:
        """Return what was made, once the group has said its last.

        Raises:
            PodError: a worker failed or was killed.
            Terminated: they were asked to end, and have saved what they had to.
        """
        failed = any(worker.failed for worker in self._workers) and not self._first.has_made
        made = (self._cause() if failed else self._first).result()
        if not isinstance(made, Made):
            raise PodError("TrainingFailed", "the training process ended before it had made anything")
        return made

    def done(self) -> None:
        """See that the workers of another node than the first have done their part, once the group has said its last.

        Raises:
            PodError: a worker failed or was killed.
            Terminated: they were asked to end.
        """
        if any(worker.failed for worker in self._workers):
            self._cause().result()

    @property
    def lost_a_peer(self) -> bool:
        """Whether no worker has failed by itself: one of another node has."""
        failed = [worker for worker in self._workers if worker.failed]
        return bool(failed) and all(worker.lost_a_peer for worker in failed)

    def end(self, *, seconds: float = EXIT_SECONDS) -> None:
        """Let the workers go, and end what is left of them and of what they started."""
        for worker in self._workers:
            worker.release()
        for worker in self._workers:
            worker.end(seconds=seconds)

    @property
    def _first(self) -> WorkerProcess:
        return self._workers[0]

    def _cause(self) -> WorkerProcess:
        """Return the worker that failed by itself, or the first one that failed where none did."""
        until = time.monotonic() + CAUSE_SECONDS
        while True:
            failed = [worker for worker in self._workers if worker.failed]
            own = [worker for worker in failed if not worker.lost_a_peer]
            if own or len(failed) == len(self._workers) or time.monotonic() > until:
                return (own or failed)[0]
            for worker in self._workers:
                if not worker.failed:
                    worker.said_its_last(0.1)


def _take_no_notice(message: Message) -> None:
    """Hear what the first worker says too."""

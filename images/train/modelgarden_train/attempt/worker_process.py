"""The worker as its supervisor sees it: started early, told what to do, listened to, and ended.

A worker is a process and its session, so that whatever it starts ends with it. `worker_group` has one for each GPU.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from modelgarden.api.redaction import without_secrets
from modelgarden_pod.cgroup import memory_limit_bytes, oom_kills
from modelgarden_pod.errors import PodError, Terminated
from modelgarden_pod.process import described
from modelgarden_train.attempt.endings import Ending, early_end
from modelgarden_train.attempt.messages import (
    REPORTS,
    Begin,
    Channel,
    Done,
    Failed,
    Inputs,
    Made,
    Message,
)
from modelgarden_train.attempt.signals import STACKS_SIGNAL
from modelgarden_train.models.environment import go_offline, prepare_rank

logger = logging.getLogger(__name__)

WORKER = (sys.executable, "-m", "modelgarden_train.attempt.worker")
EXIT_SECONDS = 10.0
"""How long a worker that has said its last word may take to end."""


class WorkerProcess:
    """One worker, from its start to its end."""

    def __init__(self, process: subprocess.Popen[bytes], channel: Channel) -> None:
        self._process = process
        self._channel = channel
        self._kills_before = oom_kills()
        self._asked = False
        self._last: Made | Done | Failed | None = None
        self._error: PodError | None = None
        self._silent = threading.Event()

    @classmethod
    def start(cls, begin: Begin, *, command: Sequence[str] = WORKER) -> Self:
        """Start a worker, which begins with its imports."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                command,
                env=worker_environment(os.environ, begin),
                stdin=theirs.fileno(),
                stdout=sys.stderr,
                start_new_session=True,
                pass_fds=() if begin.listening is None else (begin.listening,),
            )
        worker = cls(process, Channel(ours))
        worker._send(begin)
        return worker

    @property
    def pid(self) -> int:
        """The process, and the session of all that it starts."""
        return self._process.pid

    def listen(self, hear: Callable[[Message], None]) -> None:
        """Hear the worker's reports from now on, in a thread; an error in hearing one ends what is waited for."""
        threading.Thread(target=self._listen, args=(hear,), name="worker", daemon=True).start()

    def hand_over(self, inputs: Inputs) -> None:
        """Have the worker begin with what was fetched."""
        self._send(inputs)

    def terminate(self) -> None:
        """Ask the worker to end as SIGTERM asks the pod."""
        self._asked = True
        self._process.send_signal(signal.SIGTERM)

    def show_stacks(self) -> None:
        """Have the worker write where its threads stand, and end."""
        self._process.send_signal(STACKS_SIGNAL)

    def wait(self, seconds: float) -> None:
        """Wait for its end, but not longer than so."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=seconds)

    def said_its_last(self, seconds: float) -> bool:
        """Wait for the worker's result or end; tell whether it came in time."""
        return self._silent.wait(seconds)

    @property
    def failed(self) -> bool:
        """Whether the worker has ended otherwise than it should."""
        return self._silent.is_set() and not isinstance(self._last, Made | Done)

    @property
    def has_made(self) -> bool:
        """Whether the worker's result is there."""
        return isinstance(self._last, Made)

    @property
    def was_stopped(self) -> bool:
        """Whether it says that it ended because it was asked to."""
        return isinstance(self._last, Failed) and self._last.exit_code == Terminated.exit_code

    @property
    def lost_a_peer(self) -> bool:
        """Whether it says that it failed for the sake of another worker."""
        return isinstance(self._last, Failed) and self._last.peer_lost

    def result(self) -> Made | Done:
        """Return what the worker has made, once it has said its last.

        Raises:
            PodError: it failed or was killed.
            Terminated: it was asked to end, and has saved what it had to.
        """
        if self._error is not None:
            raise self._error
        if isinstance(self._last, Failed):
            raise self._last.error()
        if self._last is not None:
            return self._last
        raise early_end(self._ending())

    def release(self) -> None:
        """Let the worker go: it ends by itself once it has nothing more to do."""
        self._channel.close()

    def end(self, *, seconds: float = EXIT_SECONDS) -> None:
        """Let the worker go, and end what is left of it and of what it started."""
        self._channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=seconds)
        with contextlib.suppress(ProcessLookupError):  # nothing is left
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _send(self, message: Message) -> None:
        with contextlib.suppress(OSError):  # it has ended: `result` says how
            self._channel.send(message)

    def _listen(self, hear: Callable[[Message], None]) -> None:
        try:
            while self._last is None and (message := self._channel.receive(REPORTS)) is not None:
                if isinstance(message, Made | Done | Failed):
                    self._last = message
                else:
                    hear(message)
        except PodError as error:  # raised again by `result`, in the thread that waits
            self._error = error
        except Exception as error:
            logger.exception("A report of the worker cannot be taken in")
            said = described(error)
            self._error = PodError("TrainingFailed", f"a report of the training process is wrong: {said}")
        self._silent.set()

    def _ending(self) -> Ending:
        """Return how a worker ended that closed its end of the socket without a word."""
        try:
            code = self._process.wait(timeout=EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            return Ending(exit_code=None, asked=self._asked)
        after = oom_kills()
        before = self._kills_before
        return Ending(
            exit_code=code,
            asked=self._asked,
            oom_kills=after - before if after is not None and before is not None else None,
            memory_limit=memory_limit_bytes(),
        )


def worker_environment(environment: Mapping[str, str], begin: Begin) -> dict[str, str]:
    """Return a worker's environment: neither secrets nor a hub to ask, as it needs no network, and a GPU of its own."""
    variables = without_secrets(environment)
    go_offline(variables)
    here, nodes = begin.size // begin.config.nodes, begin.config.nodes
    prepare_rank(variables, rank=begin.rank % here, size=here, nodes=nodes)
    return variables

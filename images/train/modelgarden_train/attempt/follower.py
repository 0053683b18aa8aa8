"""One attempt as the supervisor of a pod beside the first one sees it: it starts with the first one, and ends with it.

It reports nothing and writes nothing but what it spent: checkpoints, curve and artifact are the first pod's.
"""

from __future__ import annotations

import time

from modelgarden.api.pods import TerminationMessage
from modelgarden_pod.errors import PodError, Terminated
from modelgarden_train.artifact.publish import published
from modelgarden_train.attempt.checkpoints import restore
from modelgarden_train.attempt.emissions import Attempts
from modelgarden_train.attempt.inputs import fetch
from modelgarden_train.attempt.messages import Message, Stage
from modelgarden_train.attempt.nodes.following import FirstPod
from modelgarden_train.attempt.progress import ProgressBoard
from modelgarden_train.attempt.run import Run
from modelgarden_train.attempt.signals import Stopping, StopRequest
from modelgarden_train.attempt.supervisor import Grace
from modelgarden_train.attempt.worker_group import CAUSE_SECONDS, WorkerGroup
from modelgarden_train.data.prepared import fetch_prepared
from modelgarden_train.parallel.errors import PodLost


class Follower:
    """The steps of one attempt, in their order."""

    def __init__(
        self,
        run: Run,
        *,
        worker: WorkerGroup,
        stop: StopRequest,
        board: ProgressBoard,
        attempts: Attempts,
        first: FirstPod,
    ) -> None:
        self._run = run
        self._worker = worker
        self._stop = stop
        self._board = board
        self._attempts = attempts
        self._first = first
        self._grace = Grace()

    def finish(self) -> TerminationMessage:
        """Do this pod's part, and wait until the first one has published.

        Raises:
            UserError: the input is wrong; the reason says which.
            TemporaryError: storage does not answer.
            PodError: a worker of this pod failed, or the first pod has ended.
            Terminated: SIGTERM, or another pod was asked to end.
        """
        self._worker.listen(self._hear)
        self._stage("Gathering")
        start = self._first.meet(self._attempts.own)
        self._stage("Restoring")
        dataset = fetch_prepared(self._run.folder, scratch=self._run.workspace)
        resume = start.resume
        checkpoint = (
            restore(self._run.folder, self._run.checkpoints, step=resume) if resume is not None else None
        )
        self._stage("Loading")
        fetched = fetch(self._run, dataset, checkpoint, port=start.port)
        self._worker.hand_over(fetched.inputs)
        self._watch()
        self._attempts.measure()
        self._worker.end()
        return self._until_published()

    def _watch(self) -> None:
        """Wait until the workers have done their part; on SIGTERM for the step that is under way, but not for ever."""
        stopping = Stopping(self._stop)
        with self._stop.deferred():
            while not self._worker.said_its_last(self._grace.poll):
                if stopping.asked(also=self._first.stopping):
                    self._first.stop()
                    self._worker.terminate()
                self._first_lives()
                if stopping.seconds > self._grace.worker:
                    raise Terminated(
                        f"the training process did not end within {self._grace.worker:.0f} s of SIGTERM and was killed"
                    )
        try:
            self._worker.done()
        except PodError:
            if self._worker.lost_a_peer:
                self._first.wait(CAUSE_SECONDS)
            raise
        self._stop.check()

    def _first_lives(self) -> None:
        try:
            self._first.check()
        except PodLost:
            if self._first.stalled:
                self._worker.show_stacks()
            raise

    def _until_published(self) -> TerminationMessage:
        self._stage("Uploading")
        while not self._first.published:
            try:
                self._first.check()
            except PodLost:
                if (done := published(self._run.folder)) is not None:
                    return done
                raise
            if self._first.stopping:
                raise Terminated("the first pod was stopped while it exported")
            time.sleep(self._grace.poll)
        return TerminationMessage(reason="Succeeded", message="The first pod has published what was trained.")

    def _hear(self, message: Message) -> None:
        """Take a report of this pod's first worker, in the thread that listens to it."""
        if isinstance(message, Stage):
            self._board.stage(message.name)

    def _stage(self, name: str) -> None:
        self._stop.check()
        self._board.stage(name)

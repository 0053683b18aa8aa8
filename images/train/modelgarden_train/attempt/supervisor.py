"""One attempt as its supervisor sees it: fetch the inputs, watch the worker, upload what it makes.

Everything that speaks to the world is here: storage, the port for progress and metrics, the energy meter, SIGTERM. What
imports PyTorch is the worker's, so that nothing here takes the interpreter from the thread that feeds the GPU.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass

from modelgarden.api.artifact import Evaluation
from modelgarden.api.curve import CurvePoint
from modelgarden.api.emissions import merge_records
from modelgarden.api.layout import CURVE
from modelgarden.api.pods import TerminationMessage
from modelgarden_pod.errors import PodError, Terminated
from modelgarden_train.artifact.publish import publish, upload_artifact
from modelgarden_train.artifact.results import Results
from modelgarden_train.attempt.checkpoints import restore_newest
from modelgarden_train.attempt.curve import CurveRecorder, encoded
from modelgarden_train.attempt.emissions import Attempts
from modelgarden_train.attempt.inputs import Fetched, fetch
from modelgarden_train.attempt.messages import (
    Best,
    GpuMemory,
    Logged,
    Made,
    Message,
    Resolved,
    Saved,
    Stage,
    Stepped,
    Validated,
)
from modelgarden_train.attempt.nodes.leading import Peers
from modelgarden_train.attempt.progress import ProgressBoard
from modelgarden_train.attempt.run import Run
from modelgarden_train.attempt.signals import Stopping, StopRequest
from modelgarden_train.attempt.stall import SignsOfLife
from modelgarden_train.attempt.tracking import Tracking
from modelgarden_train.attempt.uploads import CheckpointUploader
from modelgarden_train.attempt.worker_group import CAUSE_SECONDS, WorkerGroup
from modelgarden_train.data.prepared import PreparedDataset, fetch_prepared
from modelgarden_train.models.base_model import BaseModel
from modelgarden_train.objectives.checkpoint import Checkpoint

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Grace:
    """How the pod's 120 s between SIGTERM and SIGKILL are spent, in seconds from SIGTERM."""

    worker: float = 80.0
    """A worker that has not saved its step by then does not end by itself."""
    upload: float = 75.0
    """How long the newest checkpoint may take on its way to storage."""
    end: float = 100.0
    """What is not in storage by then is lost: the emissions are still to be saved."""
    poll: float = 0.2


class Supervisor:
    """The steps of one attempt, in their order."""

    def __init__(
        self,
        run: Run,
        *,
        worker: WorkerGroup,
        stop: StopRequest,
        board: ProgressBoard,
        attempts: Attempts,
        peers: Peers | None = None,
        grace: Grace = Grace(),
    ) -> None:
        self._run = run
        self._config = run.config
        self._worker = worker
        self._stop = stop
        self._board = board
        self._attempts = attempts
        self._peers = peers or Peers(None, run=run.config.run.uid)
        self._grace = grace
        self._curve = CurveRecorder()
        self._epoch: float | None = None
        self._signs = SignsOfLife(self._config.stall_timeout_seconds, clock=time.monotonic)
        self._tracking = Tracking(run)
        board.followed_by(self._tracking.status)
        self._uploader = CheckpointUploader(
            run.folder, keep=run.config.checkpoint.keep, attempt=run.attempt, uploaded=self._uploaded
        )

    def finish(self) -> TerminationMessage:
        """Do all steps.

        Raises:
            UserError: the input is wrong; the reason says which.
            TemporaryError: storage does not answer.
            PodError: the worker failed.
            Terminated: SIGTERM; the newest checkpoint is in storage.
        """
        with self._tracking.ended(self._seconds_to_upload):
            message = self._finish()
        return message.model_copy(update={"trackers": self._tracking.status()})

    def _finish(self) -> TerminationMessage:
        self._worker.listen(self._hear)
        if self._config.nodes > 1:
            self._stage("Gathering")
            self._peers.gather()
        fetched = self._fetch()
        self._worker.hand_over(fetched.inputs)
        # The last checkpoint goes up beside what follows; once the manifest is there, it is of no use any more.
        with self._uploader.saved_when_terminated(self._seconds_to_upload):
            made = self._watch()
            self._attempts.measure()
            self._worker.end()
            return self._publish(made, fetched.dataset, fetched.base)

    def _fetch(self) -> Fetched:
        """Bring here what the worker needs."""
        self._stage("Restoring")
        dataset = fetch_prepared(self._run.folder, scratch=self._run.workspace)
        resume = restore_newest(self._run.folder, self._run.checkpoints)
        if resume:
            logger.info("Resuming", extra={"step": resume.step})
            self._curve.restore(resume)
            self._tracking.resumed(resume.step)
            self._board.resumed(resume.step, total=self._total_steps(dataset))
        port = self._peers.start(resume=resume.step if resume else None)

        self._stage("Loading")
        fetched = fetch(self._run, dataset, resume, port=port)
        self._board.revision(fetched.base.revision)
        return fetched

    def _watch(self) -> Made:
        """Wait for what the worker makes; on SIGTERM for the step that it saves, but not for ever."""
        stopping = Stopping(self._stop)
        with self._stop.deferred():
            while not self._worker.said_its_last(self._grace.poll):
                self._uploader.check()
                if stopping.asked(also=self._peers.stopping):
                    self._peers.stop()
                    self._worker.terminate()
                self._peers_live()
                if not stopping.begun and self._signs.stalled():
                    raise self._stalled()
                if stopping.seconds > self._grace.worker:
                    raise Terminated(
                        f"the training process did not end within {self._grace.worker:.0f} s of SIGTERM and was killed"
                    )
        try:
            made = self._worker.result()
        except PodError:
            self._keep_newest()
            if self._worker.lost_a_peer:
                self._peers.wait(CAUSE_SECONDS)
            raise
        self._stop.check()
        self._uploader.check()
        return made

    def _peers_live(self) -> None:
        """See that no other pod has ended; without it no step can be made."""
        try:
            self._peers.check()
        except PodError:
            self._keep_newest()
            raise

    def _stalled(self) -> PodError:
        """Have a worker that has stalled show where it stands, and return what became of it."""
        self._worker.show_stacks()
        self._keep_newest()
        return PodError(
            "Stalled",
            f"the training process was silent for {self._signs.silent_seconds:.0f} s at step {self._board.at_step} and "
            f"was ended; its log says where each of its threads stood. Where steps may take so long, raise "
            "stallTimeoutSeconds in a new FineTuneJob",
        )

    def _keep_newest(self) -> None:
        """Bring the newest checkpoint of a worker that has failed to storage; why it failed is worth more than why not."""
        with contextlib.suppress(PodError):
            self._uploader.drain(self._seconds_to_upload())

    def _publish(self, made: Made, dataset: PreparedDataset, base: BaseModel) -> TerminationMessage:
        """Upload what was made; the manifest comes last."""
        self._stage("Uploading")
        results = Results(
            base_model=base.record(),
            dataset=dataset.report,
            hyperparameters=made.hyperparameters,
            validation=made.validation,
            evaluation=Evaluation.model_validate_json(made.evaluation.read_bytes()),
            formats=made.formats,
            gguf=made.gguf,
            artifact=made.artifact,
        )
        files = upload_artifact(self._run.folder, results)
        curve = self._curve.finished(results.evaluation.scores, steps=self._total_steps(dataset))
        records = self._attempts.records("Completed")
        self._tracking.found(curve, merge_records(records))
        return publish(
            self._run.folder,
            self._config,
            results,
            files=(*files, self._run.folder.write(CURVE, encoded(curve))),
            records=records,
        )

    def _hear(self, message: Message) -> None:
        """Take a report of the worker, in the thread that listens to it."""
        self._signs.heard(message)
        match message:
            case Stage():
                self._board.stage(message.name)
            case Resolved():
                self._board.resolved(message.hyperparameters)
                self._tracking.started(message.hyperparameters)
            case Stepped():
                self._epoch = message.epoch
                self._board.step(
                    message.step,
                    total=message.total,
                    epoch=message.epoch,
                    tokens=message.tokens,
                    loss=message.loss,
                )
            case Logged():
                self._log(message)
            case Validated():
                self._take(CurvePoint(step=message.step, validation_loss=message.loss))
            case Best():
                self._board.validated(message.found)
            case GpuMemory():
                self._board.update(gpu_memory_mib=message.mib)
            case Saved():
                checkpoint = Checkpoint(step=message.step, path=message.path)
                self._curve.save(checkpoint)
                self._uploader.submit(checkpoint)

    def _log(self, message: Logged) -> None:
        point = CurvePoint(
            step=message.step,
            loss=message.loss,
            learning_rate=message.learning_rate,
            gradient_norm=message.gradient_norm,
            reward=message.reward,
            reward_margin=message.reward_margin,
            tokens_per_second=self._board.tokens_per_second,
        )
        self._board.logged(point)
        self._take(point)

    def _take(self, point: CurvePoint) -> None:
        self._curve.add(point)
        self._tracking.log(point, epoch=self._epoch, gpus=self._attempts.gpu_load)

    def _stage(self, name: str) -> None:
        """Begin a stage, unless SIGTERM has come: a library may have swallowed what the handler raised in it."""
        self._stop.check()
        self._board.stage(name)

    def _uploaded(self, step: int) -> None:
        # Before the checkpoint is told: whoever ends the pod for it loses no energy.
        self._attempts.save()
        self._board.update(checkpoint_step=step)
        self._tracking.keep()

    def _seconds_to_upload(self) -> float:
        return max(0.0, min(self._grace.upload, self._grace.end - self._stop.seconds))

    def _total_steps(self, dataset: PreparedDataset) -> int:
        return self._config.training.steps(dataset.report.status.training_rows)

"""Uploads checkpoints beside the training, in a thread of its own."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from modelgarden_pod.errors import PodError, TemporaryError, Terminated
from modelgarden_pod.folder import Folder
from modelgarden_train.attempt.checkpoints import prune, upload
from modelgarden_train.objectives.checkpoint import Checkpoint

logger = logging.getLogger(__name__)

BACKGROUND_PATIENCE_SECONDS = 60.0
"""Short, so that a newer checkpoint soon takes the place of one that cannot be uploaded."""


class CheckpointUploader:
    """Uploads in a thread of its own: one checkpoint at a time, and only the newest waits behind it."""

    def __init__(self, folder: Folder, *, keep: int, attempt: str, uploaded: Callable[[int], None]) -> None:
        self._folder = folder.with_patience(BACKGROUND_PATIENCE_SECONDS)
        self._keep = keep
        self._attempt = attempt
        self._uploaded = uploaded
        self._changed = threading.Condition()
        self._here: list[Checkpoint] = []
        self._waiting: Checkpoint | None = None
        self._current: Checkpoint | None = None
        self._refused: PodError | None = None
        threading.Thread(target=self._work, name="checkpoints", daemon=True).start()

    def submit(self, checkpoint: Checkpoint) -> None:
        """Have a checkpoint uploaded soon; one that still waits gives way to it.

        Raises:
            PodError: an earlier upload was refused, or failed for a reason that does not pass.
        """
        with self._changed:
            self._raise_refused()
            self._here.append(checkpoint)
            self._waiting = checkpoint
            self._remove_old()
            self._changed.notify_all()

    def check(self) -> None:
        """Raise what an upload was refused with.

        Raises:
            PodError: an upload was refused, or failed for a reason that does not pass.
        """
        with self._changed:
            self._raise_refused()

    @contextmanager
    def saved_when_terminated(self, seconds: Callable[[], float]) -> Iterator[None]:
        """Have everything uploaded before SIGTERM, met inside, ends the process; any other end waits for nothing.

        `seconds()` tells then how long that may take.

        Raises:
            Terminated: SIGTERM; everything is in storage.
            PodError: as `drain`.
        """
        try:
            yield
        except Terminated:
            self.drain(seconds())
            raise

    def drain(self, seconds: float) -> None:
        """Wait until everything is uploaded.

        Raises:
            PodError: an upload was refused, or failed for a reason that does not pass.
            TemporaryError: it took longer than `seconds`.
        """
        with self._changed:
            done = self._changed.wait_for(
                lambda: self._refused is not None or not (self._current or self._waiting), timeout=seconds
            )
            self._raise_refused()
        if not done:
            raise TemporaryError(f"the newest checkpoint could not be uploaded in {seconds:.0f} s")

    def _raise_refused(self) -> None:
        if self._refused is not None:
            raise self._refused

    def _work(self) -> None:
        while self._refused is None:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None)
                checkpoint = self._current = self._waiting
                self._waiting = None
            if checkpoint is not None:
                self._upload(checkpoint)

    def _upload(self, checkpoint: Checkpoint) -> None:
        refused, again = None, False
        try:
            upload(self._folder, checkpoint, attempt=self._attempt)
            self._uploaded(checkpoint.step)
            self._prune()
        except TemporaryError as error:
            logger.warning(
                "A checkpoint waits for storage", extra={"step": checkpoint.step, "error": error.message}
            )
            again = True
        except PodError as error:
            refused = error
        except Exception as error:  # a thread that ends in silence would look like an outage of storage
            logger.exception("A checkpoint cannot be uploaded", extra={"step": checkpoint.step})
            refused = PodError(
                "TrainingFailed",
                f"the checkpoint of step {checkpoint.step} cannot be uploaded: {type(error).__name__}: {error}",
            )
        with self._changed:
            self._current, self._refused = None, refused
            if again and self._waiting is None:
                self._waiting = checkpoint
            self._remove_old()
            self._changed.notify_all()

    def _prune(self) -> None:
        """Remove old checkpoints from storage; the new one is safe there, whatever comes of it."""
        try:
            prune(self._folder, keep=self._keep)
        except PodError as error:
            logger.warning("Old checkpoints stay in storage", extra={"error": error.message})

    def _remove_old(self) -> None:
        """Remove from this machine all but the newest checkpoint and those still to be uploaded."""
        needed = [one for one in self._here if one in (self._here[-1], self._waiting, self._current)]
        for one in self._here:
            if one not in needed:
                shutil.rmtree(one.path, ignore_errors=True)
        self._here = needed

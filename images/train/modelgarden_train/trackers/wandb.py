"""Weights & Biases: a run of a server's, or files that are brought to one later; the same run for all attempts."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from modelgarden.api.artifact import RunIdentity
from modelgarden.api.finetunejob import WANDB_KEY, WeightsAndBiases
from modelgarden_pod.credentials import require_sendable
from modelgarden_pod.errors import TemporaryError, UserError
from modelgarden_pod.folder import Folder
from modelgarden_train.trackers.tracker import Ended

KEEP_SECONDS = 10.0
"""How often a server that does not answer is asked again, at most."""
PATIENCE_SECONDS = 15.0
"""For storage. Short: what cannot be copied now is copied with the next checkpoint, or told at the end."""
MOST_POINTS = 10_000
"""Points that wait for a server to answer for the first time, in some 10 MB; the oldest give way."""
_BEGIN_SECONDS = 15.0
_STEP: Final = "step"
_REFUSED: Final = re.compile(r"returned error 4(?!29)\d\d\b")
_ENVIRONMENT = {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}


class WandbRun:
    """Tells a server, whose answers the library waits for in a process of its own, or writes files and uploads them."""

    name = "Weights & Biases"

    def __init__(self, asked: WeightsAndBiases, run: RunIdentity, *, local: Path, folder: Folder) -> None:
        self._asked = asked
        self._job = run
        self._local = local
        self._folder = folder.with_patience(PATIENCE_SECONDS)
        self._run: Any = None
        self._hyperparameters: dict[str, str] = {}
        self._waiting: deque[tuple[int, dict[str, float]]] = deque(maxlen=MOST_POINTS)
        self.url: str | None = folder.uri if asked.mode == "Offline" else None

    def start(self, hyperparameters: Mapping[str, str], *, from_step: int) -> None:
        """Make ready; the run begins with what is kept first.

        Nothing takes back what an earlier attempt has told: a training that goes on from a checkpoint tells some steps
        again, with the same values.

        Raises:
            UserError: SecretInvalid.
        """
        require_sendable(WANDB_KEY)
        os.environ.update(_ENVIRONMENT)
        self._local.mkdir(parents=True, exist_ok=True)
        self._hyperparameters = dict(hyperparameters)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Tell the metrics, once the run has begun."""
        self._waiting.append((step, dict(metrics)))
        if self._run is not None:
            self._tell()

    def keep(self) -> None:
        """Begin the run where it has not begun, and upload the files of one that is offline.

        Raises:
            TemporaryError: the server, or storage, does not answer.
            UserError: it refuses.
        """
        if self._run is None:
            self._begin()
        self._tell()
        self._upload()

    def finish(self, ended: Ended) -> None:
        """End the run; the library returns once the server has all of it.

        Raises:
            TemporaryError: the server, or storage, does not answer.
            UserError: it refuses.
        """
        import wandb

        self.keep()
        if ended == "Terminated":
            self._run.mark_preempting()
        self._run.finish(exit_code=0 if ended == "Completed" else 1)
        wandb.teardown()  # the library's process writes the end of its files when it ends
        self._upload()

    def _begin(self) -> None:
        import wandb

        online = self._asked.mode == "Online"
        settings = wandb.Settings(
            mode="online" if online else "offline",
            base_url=self._asked.base_url,
            root_dir=str(self._local),
            console="off",
            silent=True,
            quiet=True,
            save_code=False,
            disable_code=True,
            disable_git=True,
            init_timeout=_BEGIN_SECONDS,
            login_timeout=_BEGIN_SECONDS,
            x_disable_meta=True,
            x_disable_stats=True,
            x_disable_machine_info=True,
        )
        with self._answering():
            run = wandb.init(
                entity=self._asked.entity,
                project=self._asked.project,
                id=self._job.uid,
                name=self._job.name,
                resume="allow" if online else None,
                config=self._hyperparameters,
                settings=settings,
            )
        # The library's own step only rises, and what is found at the end is of the first step too.
        run.define_metric(_STEP, hidden=True)
        run.define_metric("*", step_metric=_STEP)
        self._run = run
        if online:
            self.url = run.url

    def _tell(self) -> None:
        while self._waiting:
            step, metrics = self._waiting.popleft()
            self._run.log({_STEP: step, **metrics})

    def _upload(self) -> None:
        if self._asked.mode == "Offline":
            for file in sorted(self._local.glob("wandb/offline-run-*/*.wandb")):
                self._folder.upload(file, f"{file.parent.name}/{file.name}")

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Say in our words what the server's answer, or its silence, means."""
        import wandb

        try:
            yield
        except wandb.errors.CommError as error:
            # The library's process holds on to the run, and would refuse to begin it again.
            wandb.teardown()
            if not _REFUSED.search(str(error)):
                raise TemporaryError(f"{self._asked.base_url} does not answer: {error}") from error
            raise self._refusal(error) from error
        except wandb.errors.Error as error:
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> UserError:
        return UserError(
            "AccessDenied",
            f"{self._asked.base_url} refuses: {error}; check entity, project and the secret that trackers.wandb names",
        )

"""MLflow: a run of a server's, the same one for all attempts, found again by the UID of the job."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from modelgarden.api.artifact import RunIdentity
from modelgarden.api.finetunejob import MLFLOW_KEYS, MLflow
from modelgarden_pod.credentials import require_sendable
from modelgarden_pod.errors import TemporaryError, UserError
from modelgarden_train.trackers.tracker import Ended

KEEP_SECONDS = 10.0
"""How often the server is told, at most."""
MOST_METRICS = 50_000
"""Values that wait while the server does not answer, in some 15 MB; the oldest give way."""
_BATCH = 500
_BATCH_PARAMETERS = 100
_RUN_TAG = "modelgarden.dev/run"
_STATUSES: Final[Mapping[Ended, str]] = {"Completed": "FINISHED", "Terminated": "KILLED", "Failed": "FAILED"}
_ENVIRONMENT = {
    # The library's default is two minutes, seven times. What fails is tried again by whoever has it follow.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
}


class MLflowRun:
    """Gathers what it is told, and tells the server of it when it is to keep it."""

    name = "MLflow"

    def __init__(self, asked: MLflow, run: RunIdentity) -> None:
        self._asked = asked
        self._job = run
        self._client: Any = None
        self._run: str | None = None
        self._hyperparameters: dict[str, str] = {}
        self._told: dict[str, int] = {}
        """The step up to which the server knows a metric."""
        self._waiting: deque[Any] = deque(maxlen=MOST_METRICS)
        self.url: str | None = None

    def start(self, hyperparameters: Mapping[str, str], *, from_step: int) -> None:
        """Make ready; the server is asked for the first time when there is something to keep.

        A server forgets no value. Of the steps that an earlier attempt has told already, nothing is told again: a training
        that goes on from a checkpoint repeats them as they were.

        Raises:
            UserError: SecretInvalid.
        """
        require_sendable(*MLFLOW_KEYS)
        os.environ.update(_ENVIRONMENT)
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=self._asked.tracking_uri)
        self._hyperparameters = dict(hyperparameters)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Gather the metrics."""
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        self._waiting.extend(Metric(key, value, now, step) for key, value in metrics.items())

    def keep(self) -> None:
        """Tell the server what has been gathered.

        Raises:
            TemporaryError: it does not answer; what it was not told waits.
            UserError: it refuses.
        """
        with self._answering():
            run = self._run = self._run or self._opened()
            while self._waiting:
                batch = [self._waiting[index] for index in range(min(_BATCH, len(self._waiting)))]
                self._client.log_batch(run, metrics=[one for one in batch if self._is_new(one)])
                for one in batch:
                    self._told[one.key] = max(one.step, self._told.get(one.key, -1))
                    self._waiting.popleft()

    def finish(self, ended: Ended) -> None:
        """Tell the server the rest and how the run ended; that of another attempt goes on.

        Raises:
            TemporaryError: it does not answer.
            UserError: it refuses.
        """
        self.keep()
        with self._answering():
            self._client.set_terminated(self._run, status=_STATUSES[ended])

    def _is_new(self, metric: Any) -> bool:
        return bool(metric.step > self._told.get(metric.key, -1))

    def _opened(self) -> str:
        """Return the ID of the run of an earlier attempt, else that of a new one."""
        experiment = self._experiment()
        found = self._client.search_runs(
            [experiment], f"tags.`{_RUN_TAG}` = '{self._job.uid}'", max_results=1
        )
        if found:
            run = found[0]
            self._client.update_run(run.info.run_id, status="RUNNING")
            for key in run.data.metrics:
                history = self._client.get_metric_history(run.info.run_id, key)
                self._told[key] = max((one.step for one in history), default=-1)
        else:
            job = f"{self._job.namespace}/{self._job.name}"
            run = self._client.create_run(
                experiment,
                run_name=self._asked.run_name or self._job.name,
                tags={_RUN_TAG: self._job.uid, "modelgarden.dev/job": job},
            )
        self._tell_hyperparameters(run)
        self.url = f"{self._asked.tracking_uri.rstrip('/')}/#/experiments/{experiment}/runs/{run.info.run_id}"
        return str(run.info.run_id)

    def _experiment(self) -> str:
        from mlflow.exceptions import RestException

        known = self._client.get_experiment_by_name(self._asked.experiment)
        if known is None:
            try:
                return str(self._client.create_experiment(self._asked.experiment))
            except RestException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                known = self._client.get_experiment_by_name(self._asked.experiment)
        if known.lifecycle_stage != "active":
            raise UserError(
                "InvalidConfiguration",
                f"experiment {self._asked.experiment!r} of MLflow is deleted; restore it, or name another one in a new job",
            )
        return str(known.experiment_id)

    def _tell_hyperparameters(self, run: Any) -> None:
        """Tell those that the run has not: a server takes none anew, such as another memory's in a later attempt."""
        from mlflow.entities import Param

        new = [
            Param(name, value)
            for name, value in sorted(self._hyperparameters.items())
            if name not in run.data.params
        ]
        for first in range(0, len(new), _BATCH_PARAMETERS):
            self._client.log_batch(run.info.run_id, params=new[first : first + _BATCH_PARAMETERS])

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Say in our words what the server's answer, or its silence, means."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            status = error.get_http_status_code()
            if status == 429 or status >= 500:
                raise TemporaryError(
                    f"{self._asked.tracking_uri} does not answer: {error.message}"
                ) from error
            remedy = "; check the secret that trackers.mlflow.secretRef names" if status in (401, 403) else ""
            raise UserError(
                "AccessDenied", f"{self._asked.tracking_uri} refuses: {error.message}{remedy}"
            ) from error

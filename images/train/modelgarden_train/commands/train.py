"""The command train, from the prepared dataset to the manifest: one attempt at a run."""

from __future__ import annotations

from pathlib import Path

from modelgarden.api.pods import RunConfig, TerminationMessage
from modelgarden_pod.energy import EnergyMeter, attempt_id
from modelgarden_pod.http import json_route, metrics_route, ready_route, serve_routes
from modelgarden_train.artifact.publish import published
from modelgarden_train.attempt.emissions import Attempts
from modelgarden_train.attempt.progress import ProgressBoard
from modelgarden_train.attempt.run import open_run, run_workspace
from modelgarden_train.attempt.signals import StopRequest
from modelgarden_train.attempt.supervisor import Supervisor
from modelgarden_train.attempt.worker_group import WorkerGroup


def train(config: RunConfig, workspace: Path, *, stop: StopRequest, port: int) -> TerminationMessage:
    """Train, evaluate, export and publish a run, from its newest checkpoint on.

    Raises:
        UserError: the input is wrong; the reason says which.
        TemporaryError: storage does not answer.
        PodError: the worker failed.
        Terminated: SIGTERM; the newest checkpoint is in storage.
    """
    # First of all: its imports take longer than all else before the first step.
    with WorkerGroup.start(config, run_workspace(config, workspace)) as worker:
        run = open_run(config, workspace=workspace, attempt=attempt_id())
        if done := published(run.folder):
            return done
        meter = EnergyMeter(config.carbon, attempt=run.attempt, gpus=config.gpus)
        attempts = Attempts(run.folder, attempt=run.attempt, meter=meter)
        board = ProgressBoard(run.attempt, emissions=attempts.total, outages=[run.patience.outage])
        with attempts.metered():
            serve_routes(
                {
                    "/progress": json_route(board.report),
                    "/metrics": metrics_route(board.metrics()),
                    "/readyz": ready_route(lambda: True),
                },
                port=port,
            )
            supervisor = Supervisor(run, worker=worker, stop=stop, board=board, attempts=attempts)
            return supervisor.finish()

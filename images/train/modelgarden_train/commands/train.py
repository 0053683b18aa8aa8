"""The command train, from the prepared dataset to the manifest: one attempt at a run, or one of its pods."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelgarden.api.names import COMPLETION_INDEX_VARIABLE
from modelgarden.api.pods import RunConfig, TerminationMessage
from modelgarden_pod.energy import EnergyMeter, attempt_id
from modelgarden_pod.errors import PodError, Terminated, UserError
from modelgarden_pod.http import json_route, metrics_route, ready_route, serve_routes
from modelgarden_train.artifact.publish import published
from modelgarden_train.attempt.emissions import Attempts
from modelgarden_train.attempt.follower import Follower
from modelgarden_train.attempt.nodes.following import FirstPod
from modelgarden_train.attempt.nodes.leading import Peers
from modelgarden_train.attempt.nodes.link import Hello
from modelgarden_train.attempt.progress import ProgressBoard
from modelgarden_train.attempt.run import Run, open_run, run_workspace
from modelgarden_train.attempt.signals import StopRequest
from modelgarden_train.attempt.supervisor import Supervisor
from modelgarden_train.attempt.worker_group import WorkerGroup


def train(config: RunConfig, workspace: Path, *, stop: StopRequest, port: int) -> TerminationMessage:
    """Train, evaluate, export and publish a run, from its newest checkpoint on.

    Raises:
        UserError: the input is wrong; the reason says which.
        TemporaryError: storage does not answer.
        PodError: the worker failed, or another pod of the training did.
        Terminated: SIGTERM; the newest checkpoint is in storage.
    """
    node = node_of(config, os.environ)
    if config.group is not None and node > 0:
        hello = Hello(run=config.run.uid, node=node, attempt=attempt_id())
        return _follow(config, workspace, FirstPod(config.group, hello), node=node, stop=stop, port=port)
    peers = Peers(config.group, run=config.run.uid)
    # Before all else: its imports take longer than all else before the first step.
    with (
        _told(peers, stop),
        WorkerGroup.start(config, run_workspace(config, workspace), store=peers.store) as worker,
    ):
        run = open_run(config, workspace=workspace, attempt=attempt_id())
        if done := published(run.folder):
            peers.published()
            return done
        attempts = _attempts(run, peers)
        with attempts.metered():
            board = _board(run, attempts, port=port)
            supervisor = Supervisor(
                run, worker=worker, stop=stop, board=board, attempts=attempts, peers=peers
            )
            message = supervisor.finish()
        peers.published()
        return message


def node_of(config: RunConfig, environ: os._Environ[str] | dict[str, str]) -> int:
    """Return which of the nodes of its training this pod is.

    Raises:
        UserError: InvalidConfiguration, it does not know.
    """
    if config.group is None:
        return 0
    given = environ.get(COMPLETION_INDEX_VARIABLE, "")
    if not given.isascii() or not given.isdigit() or int(given) >= config.group.nodes:
        raise UserError(
            "InvalidConfiguration",
            f"{COMPLETION_INDEX_VARIABLE} must say which of the {config.group.nodes} nodes this pod is, from 0",
        )
    return int(given)


def _follow(
    config: RunConfig, workspace: Path, first: FirstPod, *, node: int, stop: StopRequest, port: int
) -> TerminationMessage:
    """Be one of the pods beside the first one."""
    with (
        _told(first, stop),
        WorkerGroup.start(config, run_workspace(config, workspace), node=node) as worker,
    ):
        run = open_run(config, workspace=workspace, attempt=attempt_id())
        if done := published(run.folder):
            return done
        attempts = _attempts(run)
        with attempts.metered():
            board = _board(run, attempts, port=port)
            return Follower(
                run, worker=worker, stop=stop, board=board, attempts=attempts, first=first
            ).finish()


@contextmanager
def _told(others: Peers | FirstPod, stop: StopRequest) -> Iterator[None]:
    """Tell the other pods how what runs inside ends too early; one that ends for theirs was not terminated itself.

    Raises:
        PodError: another pod was stopped, and this one with it.
    """
    try:
        yield
    except PodError as error:
        others.ended(error.reason, error.message)
        raise
    except Terminated as error:
        others.ended("Terminated", error.message)
        if others.stopping and not stop.received:
            raise others.stopped() from None
        raise
    except BaseException as error:
        others.ended("TrainingFailed", type(error).__name__)
        raise


def _attempts(run: Run, peers: Peers | None = None) -> Attempts:
    meter = EnergyMeter(run.config.carbon, attempt=run.attempt, gpus=run.config.gpus)
    if peers is None:
        return Attempts(run.folder, attempt=run.attempt, meter=meter)
    return Attempts(run.folder, attempt=run.attempt, meter=meter, peers=peers.spent)


def _board(run: Run, attempts: Attempts, *, port: int) -> ProgressBoard:
    """Serve what this pod tells of itself."""
    board = ProgressBoard(run.attempt, emissions=attempts.total, outages=[run.patience.outage])
    serve_routes(
        {
            "/progress": json_route(board.report),
            "/metrics": metrics_route(board.metrics()),
            "/readyz": ready_route(lambda: True),
        },
        port=port,
    )
    return board

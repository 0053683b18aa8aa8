"""Messages between supervisor and worker: what one end sends, the other has, and silence is told from a message."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from modelgarden_pod.errors import PodError, Terminated, UserError
from modelgarden_train.attempt.messages import (
    ORDERS,
    REPORTS,
    Begin,
    Channel,
    Failed,
    GpuMemory,
    Inputs,
    Logged,
    Made,
    Message,
    Resolved,
    Saved,
    Stage,
    Stepped,
)
from modelgarden_train.attempt.reporting import Reporter
from modelgarden_train.objectives.checkpoint import Checkpoint
from tests.unit.train.builders import make_config

Ends = tuple[Channel, Channel]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair()
    channels = Channel(ours), Channel(theirs)
    yield channels
    for channel in channels:
        channel.close()


@pytest.mark.parametrize(
    "message",
    [
        Begin(config=make_config(gpus=1), workspace=Path("/workspace/uid")),
        Inputs(
            model=Path("/model"),
            training=Path("/train.parquet"),
            validation=Path("/validation.parquet"),
            longest_row=77,
            resume=Saved(step=20, path=Path("/checkpoint-20")),
        ),
    ],
)
def test_orders_arrive_as_they_were_given(message: Message, ends: Ends) -> None:
    ends[0].send(message)

    assert ends[1].receive(ORDERS) == message


@pytest.mark.parametrize(
    "message",
    [
        Stage(name="Training"),
        Resolved(hyperparameters={"loraRank": "8"}),
        Stepped(step=3, total=9, epoch=0.25, tokens=1200, loss=None),
        Stepped(step=3, total=9, epoch=0.25, tokens=1200, loss=1.5),
        Logged(step=3, loss=1.5, learning_rate=1e-4, gradient_norm=None),
        Logged(step=3, loss=1.5, learning_rate=1e-4, gradient_norm=0.1, reward=0.5, reward_margin=-0.1),
        GpuMemory(mib=None),
        Saved(step=3, path=Path("/checkpoint-3")),
        Made(
            artifact=Path("/export"),
            formats={"Adapter": "artifact/adapter"},
            hyperparameters={"epochs": "2"},
            evaluation=Path("/evaluation.json"),
        ),
        Failed(reason="TrainingFailed", message="two\nlines", exit_code=1),
    ],
)
def test_reports_arrive_as_they_were_told(message: Message, ends: Ends) -> None:
    ends[0].send(message)
    ends[0].send(Stage(name="next"))

    assert ends[1].receive(REPORTS) == message
    assert ends[1].receive(REPORTS) == Stage(name="next")


def test_what_was_told_before_the_end_is_heard_and_then_the_end(ends: Ends) -> None:
    ends[0].send(Stage(name="Exporting"))
    ends[0].close()

    assert ends[1].receive(REPORTS) == Stage(name="Exporting")
    assert ends[1].receive(REPORTS) is None
    with pytest.raises(OSError, match="Broken pipe"):
        ends[1].send(Stage(name="to nobody"))


def test_a_message_that_was_cut_off_is_none() -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    theirs.sendall(b'{"kind": "stage", "na')
    theirs.close()

    assert channel.receive(REPORTS) is None
    channel.close()


def test_an_order_is_no_report(ends: Ends) -> None:
    ends[0].send(Begin(config=make_config(), workspace=Path("/workspace")))

    with pytest.raises(ValidationError):
        ends[1].receive(REPORTS)


@pytest.mark.parametrize(
    "error",
    [UserError("ModelInvalid", "no"), PodError("ArtifactInvalid", "not the same"), Terminated("SIGTERM")],
)
def test_a_failure_is_the_same_error_at_the_other_end(error: PodError | Terminated) -> None:
    again = Failed.of(error).error()

    assert type(again) is type(error)
    assert (again.reason, again.message, again.exit_code) == (error.reason, error.message, error.exit_code)


def test_a_training_goes_on_from_the_checkpoint_that_it_saved_last(ends: Ends) -> None:
    stop: Any = None
    reporter = Reporter(ends[0], stop)
    for step in (20, 40):
        reporter.saved(Checkpoint(step=step, path=Path(f"/checkpoint-{step}")))

    assert reporter.newest == Checkpoint(step=40, path=Path("/checkpoint-40"))
    assert ends[1].receive(REPORTS) == Saved(step=20, path=Path("/checkpoint-20"))

"""What /progress and /metrics tell."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest

from modelgarden.api.emissions import merge_records
from modelgarden.api.finetunejob import ValidationStatus
from modelgarden_pod.retry import Outage
from modelgarden_train.attempt.progress import ProgressBoard
from tests.unit.train.builders import make_record


class Clock:
    """A clock that the test moves."""

    now = 100.0


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> ProgressBoard:
    Clock.now = 100.0
    monkeypatch.setattr("modelgarden_train.attempt.progress.time.monotonic", lambda: Clock.now)
    return ProgressBoard("pod-1", emissions=lambda: make_record(1))


def test_speed_and_remaining_time_are_taken_over_the_newest_steps(board: ProgressBoard) -> None:
    board.stage("Training")
    for step in range(1, 101):
        Clock.now += 1.0 if step <= 50 else 2.0
        board.step(step, total=200, epoch=step / 100, tokens=1_000 * step, loss=2.0 / step)

    shown = board.report().progress
    assert board.tokens_per_second == shown.tokens_per_second
    assert (shown.stage, shown.step, shown.total_steps, shown.percent) == ("Training", 100, 200, 50)
    assert (shown.epoch, shown.loss) == ("1.00", "0.0200")
    assert shown.tokens_per_second == 500
    assert shown.eta_seconds == 200


def test_an_attempt_that_resumes_is_as_far_as_its_checkpoint(board: ProgressBoard) -> None:
    board.resumed(90, total=90)

    shown = board.report().progress
    assert (shown.step, shown.total_steps, shown.percent) == (90, 90, 100)
    assert (shown.resumed_from_step, shown.checkpoint_step) == (90, 90)


def test_validations_are_told_and_a_training_that_stopped_early_is_at_its_end(board: ProgressBoard) -> None:
    found = ValidationStatus(step=40, loss="1.5", best_step=20, best_loss="1.25")
    board.step(40, total=100, epoch=0.4, tokens=10, loss=1.5)
    board.validated(found)

    assert board.report().validation == found
    assert board.report().progress.total_steps == 100
    assert "modelgarden_train_validation_loss 1.5" in generate_latest(board.metrics()).decode()

    board.validated(found.model_copy(update={"stopped_early": True}))

    shown = board.report().progress
    assert (shown.step, shown.total_steps, shown.percent, shown.eta_seconds) == (40, 40, 100, 0)


def test_a_loss_that_is_no_number_is_not_shown(board: ProgressBoard) -> None:
    board.step(1, total=2, epoch=0.5, tokens=10, loss=1.5)
    board.step(2, total=2, epoch=1.0, tokens=20, loss=float("nan"))

    assert board.report().progress.loss == "1.5000"


def test_the_report_carries_what_was_chosen(board: ProgressBoard) -> None:
    board.resolved({"microBatchSize": "4"})
    board.revision("abc")
    board.update(checkpoint_step=7, resumed_from_step=3)

    report = board.report()
    assert report.resolved_hyperparameters == {"microBatchSize": "4"}
    assert report.model_revision == "abc"
    assert (report.progress.checkpoint_step, report.progress.resumed_from_step) == (7, 3)
    assert report.emissions == make_record(1)


def test_the_first_of_those_that_are_away_is_told() -> None:
    storage, hub = Outage(), Outage()
    board = ProgressBoard("pod-1", outages=[storage, hub], stage="Loading")
    assert board.report().outage is None

    hub.message = "hub.example cannot be reached"

    report = board.report()
    assert (report.outage, report.progress.stage, report.emissions) == (
        "hub.example cannot be reached",
        "Loading",
        None,
    )


def test_metrics_follow_the_progress(board: ProgressBoard) -> None:
    registry = board.metrics()
    board.step(3, total=9, epoch=0.1, tokens=42, loss=0.5)

    text = generate_latest(registry).decode()
    for line in (
        "modelgarden_train_step 3.0",
        "modelgarden_train_steps 9.0",
        "modelgarden_train_loss 0.5",
        "modelgarden_train_checkpoint_step 0.0",
        "# TYPE modelgarden_train_tokens_total counter",
        "modelgarden_train_tokens_total 42.0",
    ):
        assert f"{line}\n" in text


def test_the_energy_metric_counts_this_attempt_alone() -> None:
    both = merge_records([make_record(1, reason="Terminated"), make_record(2, joules=1_000)])
    board = ProgressBoard("attempt-2", emissions=lambda: both)

    text = generate_latest(board.metrics()).decode()

    assert "# TYPE modelgarden_train_energy_joules_total counter\n" in text
    assert 'modelgarden_train_energy_joules_total{component="gpu"} 1000.0\n' in text
    assert 'modelgarden_train_energy_joules_total{component="cpu"} 500.0\n' in text

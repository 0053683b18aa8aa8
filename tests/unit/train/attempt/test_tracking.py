"""What the trackers of an attempt are told, and how its end is told to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from modelgarden.api.curve import CurvePoint
from modelgarden.api.emissions import merge_records
from modelgarden.api.finetunejob import TensorBoard, Trackers, Training, Validation
from modelgarden_pod.errors import Terminated, UserError
from modelgarden_train.attempt import tracking
from modelgarden_train.attempt.run import open_run
from modelgarden_train.attempt.tracking import Tracking, measured, spent
from modelgarden_train.trackers.following import Following
from modelgarden_train.trackers.tracker import Ended
from tests.unit.train.builders import make_config, make_record


def test_a_point_is_told_by_what_is_known_of_it() -> None:
    point = CurvePoint(step=3, loss=1.5, learning_rate=1e-4, tokens_per_second=2000)

    assert measured(point) == {
        "train/loss": 1.5, "train/learning_rate": 1e-4, "train/tokens_per_second": 2000.0,
    }  # fmt: skip


def test_energy_is_told_in_kilowatt_hours_and_emissions_in_kilograms() -> None:
    record = merge_records([make_record(1, joules=2_400_000)])
    assert record.emissions_milligrams is not None

    told = spent(record)

    assert told == {"energy/kwh": 1.0, "emissions/kg": pytest.approx(0.380950 * 1.3, rel=1e-3)}
    assert spent(record.model_copy(update={"emissions_milligrams": None})) == {"energy/kwh": 1.0}


@pytest.mark.parametrize(
    ("error", "want"),
    [(None, "Completed"), (Terminated("SIGTERM"), "Terminated"), (UserError("a", "b"), "Failed")],
)
def test_the_end_of_an_attempt_is_told(
    error: BaseException | None, want: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []

    class Told(Following):
        def finish(self, ended: Ended) -> None:
            told.append(ended)

        def wait(self, seconds: float) -> None:
            told.append(seconds)

    monkeypatch.setattr(tracking, "Following", Told)
    config = make_config(run_uri=str(tmp_path / "run"), trackers=Trackers(tensorboard=TensorBoard()))
    following = Tracking(open_run(config, workspace=tmp_path / "workspace", attempt="a"))

    def attempt() -> None:
        with following.ended(lambda: 5.0):
            if error is not None:
                raise error

    if error is None:
        attempt()
    else:
        with pytest.raises(type(error)):
            attempt()

    assert told == [want, pytest.approx(5.0, abs=1.0)]
    assert [one.name for one in following.status()] == ["TensorBoard"]


@pytest.mark.parametrize(
    ("training", "want"),
    [(Training(), [(0, 3.0), (2, 1.0)]), (Training(validation=Validation(every_steps=2)), [])],
)
def test_what_was_validated_on_the_way_is_not_told_again_at_the_end(
    training: Training, want: list[tuple[int, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, float]] = []

    class Told(Following):
        def log(self, step: int, metrics: Mapping[str, float]) -> None:
            told.extend((step, value) for name, value in metrics.items() if name == "validation/loss")

    monkeypatch.setattr(tracking, "Following", Told)
    config = make_config(
        run_uri=str(tmp_path / "run"), trackers=Trackers(tensorboard=TensorBoard()), training=training
    )
    following = Tracking(open_run(config, workspace=tmp_path / "workspace", attempt="a"))

    following.found(
        [CurvePoint(step=0, validation_loss=3.0), CurvePoint(step=2, validation_loss=1.0)],
        merge_records([make_record(1)]),
    )

    assert told == want


def test_nothing_follows_where_nothing_is_asked_for(tmp_path: Path) -> None:
    following = Tracking(open_run(make_config(run_uri=str(tmp_path)), workspace=tmp_path, attempt="a"))

    following.started({"epochs": "1"})
    following.log(CurvePoint(step=1, loss=1.0))

    assert following.status() == ()

"""The loss curve: what is kept of it, and how it outlives an attempt."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from modelgarden.api.curve import MOST_POINTS, CurvePoint, TrainingCurve
from modelgarden.api.documents import TRAIN_IMAGE
from modelgarden.api.evaluation import PERPLEXITY, EvaluationStatus, Metric, Score
from modelgarden_train.attempt.curve import CurveRecorder, encoded, thinned, with_validation
from tests.unit.train.builders import make_checkpoint

SCORES = EvaluationStatus(
    rows=10,
    metrics=(
        Metric(
            name=PERPLEXITY,
            direction="LowerIsBetter",
            base=Score(value="31.5"),
            tuned=Score(value="1.9"),
        ),
    ),
)


def make_points(*steps: int) -> list[CurvePoint]:
    return [CurvePoint(step=step, loss=1.0 / step) for step in steps]


def steps_of(points: Sequence[CurvePoint]) -> list[int]:
    return [point.step for point in TrainingCurve.read(encoded(points), reader=TRAIN_IMAGE).points]


@pytest.mark.parametrize("count", [0, 1, 2, 499, 500])
def test_a_curve_that_is_short_enough_is_kept_whole(count: int) -> None:
    points = make_points(*range(1, count + 1))

    assert thinned(points, most=500) == points


@pytest.mark.parametrize("count", [501, 750, 999, 100_000])
@pytest.mark.parametrize("most", [2, 3, 498, 500])
def test_a_long_curve_is_thinned_evenly_between_its_ends(count: int, most: int) -> None:
    kept = [point.step for point in thinned(make_points(*range(1, count + 1)), most=most)]

    assert len(kept) == most
    assert (kept[0], kept[-1]) == (1, count)
    gaps = [after - before for before, after in pairwise(kept)]
    assert min(gaps) >= 1
    assert max(gaps) - min(gaps) <= 1


def test_the_ends_have_the_loss_of_the_held_out_rows() -> None:
    first, middle, last = with_validation(make_points(1, 8), SCORES, steps=8)

    assert first == CurvePoint(step=0, validation_loss=math.log(31.5))
    assert middle == CurvePoint(step=1, loss=1.0)
    assert last == CurvePoint(step=8, loss=1 / 8, validation_loss=math.log(1.9))


def test_a_last_step_whose_loss_was_not_taken_is_a_point_of_its_own() -> None:
    assert [point.step for point in with_validation(make_points(1, 6), SCORES, steps=7)] == [0, 1, 6, 7]


def test_without_a_perplexity_nothing_is_added() -> None:
    points = make_points(1, 2)

    assert with_validation(points, EvaluationStatus(rows=1), steps=2) == points


def test_the_published_curve_holds_no_more_than_it_may() -> None:
    curve = CurveRecorder()
    for point in make_points(*range(1, 1_000)):
        curve.add(point)

    steps = steps_of(curve.finished(SCORES, steps=1_000))

    assert len(steps) == MOST_POINTS
    assert (steps[0], steps[1], steps[-2], steps[-1]) == (0, 1, 999, 1_000)


def test_an_attempt_that_resumes_goes_on_with_the_curve_of_its_checkpoint(tmp_path: Path) -> None:
    evicted, resumed = CurveRecorder(), CurveRecorder()
    checkpoint = make_checkpoint(tmp_path, 2)
    for point in make_points(1, 2):
        evicted.add(point)
    evicted.save(checkpoint)
    evicted.add(CurvePoint(step=3, loss=9.0))

    resumed.restore(checkpoint)
    for point in make_points(3, 4):
        resumed.add(point)

    whole = CurveRecorder()
    for point in make_points(1, 2, 3, 4):
        whole.add(point)
    assert resumed.finished(SCORES, steps=4) == whole.finished(SCORES, steps=4)


def test_a_step_that_was_validated_is_one_point_with_its_loss() -> None:
    curve = CurveRecorder()
    for point in (
        CurvePoint(step=0, validation_loss=3.0),
        CurvePoint(step=1, loss=2.5),
        CurvePoint(step=2, validation_loss=2.0),
        CurvePoint(step=2, loss=2.25, learning_rate=0.1),
    ):
        curve.add(point)

    assert curve.finished(SCORES, steps=2) == [
        CurvePoint(step=0, validation_loss=3.0),
        CurvePoint(step=1, loss=2.5),
        CurvePoint(step=2, loss=2.25, learning_rate=0.1, validation_loss=2.0),
    ], "no end has another loss than the one that was validated"


@pytest.mark.parametrize("every", [1, 2, 3, 100, 5_000])
def test_what_was_validated_comes_first_where_a_curve_is_thinned(every: int) -> None:
    points = [
        point.model_copy(update={"validation_loss": 1.0} if point.step % every == 0 else {})
        for point in make_points(*range(1, 2_001))
    ]

    kept = thinned(points, most=500)

    assert len(kept) == 500
    assert [point.step for point in kept] == sorted({point.step for point in kept})
    validated = [point.step for point in kept if point.validation_loss is not None]
    assert validated == [step for step in range(1, 2_001) if step % every == 0] or len(validated) == 500


def test_steps_that_are_done_again_replace_their_points() -> None:
    curve = CurveRecorder()
    for point in make_points(1, 2, 3):
        curve.add(point)
    curve.add(CurvePoint(step=2, loss=7.0))

    points = json.loads(encoded(curve.finished(EvaluationStatus(rows=1), steps=2)))["points"]

    assert points == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 7.0}]


@pytest.mark.parametrize("content", [None, b"{", b'{"schemaVersion": "9.0"}'])
def test_a_checkpoint_without_a_readable_curve_lets_it_begin_there(
    tmp_path: Path, content: bytes | None
) -> None:
    checkpoint = make_checkpoint(tmp_path, 5)
    if content is not None:
        (checkpoint.path / "curve.json").write_bytes(content)
    curve = CurveRecorder()

    curve.restore(checkpoint)
    curve.add(CurvePoint(step=6, loss=1.0))

    assert steps_of(curve.finished(EvaluationStatus(rows=1), steps=6)) == [6]

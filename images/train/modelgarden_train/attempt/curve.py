"""The loss curve of a run: gathered by the supervisor, kept with every checkpoint, and published beside the manifest."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from modelgarden.api.curve import MOST_POINTS, CurvePoint, TrainingCurve
from modelgarden.api.documents import TRAIN_IMAGE, DocumentError
from modelgarden.api.evaluation import PERPLEXITY, EvaluationStatus
from modelgarden.api.layout import CURVE
from modelgarden_train.objectives.checkpoint import Checkpoint

logger = logging.getLogger(__name__)


class CurveRecorder:
    """The points so far, over all attempts."""

    def __init__(self) -> None:
        self._points: list[CurvePoint] = []

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from the points that came with a checkpoint; without them the curve begins here."""
        file = checkpoint.path / CURVE
        if not file.is_file():  # of a version before curves
            return
        try:
            self._points = list(TrainingCurve.read(file.read_bytes(), reader=TRAIN_IMAGE).points)
        except DocumentError as error:
            logger.warning("The loss curve begins anew", extra={"error": str(error)})

    def add(self, point: CurvePoint) -> None:
        """Note a point, or more of the newest one; those of steps that are done again give way."""
        while self._points and self._points[-1].step > point.step:
            self._points.pop()
        if self._points and self._points[-1].step == point.step:
            point = self._points.pop().model_copy(update=point.model_dump(exclude_none=True))
        self._points.append(point)

    def save(self, checkpoint: Checkpoint) -> None:
        """Lay the points beside a checkpoint's files, before it is uploaded."""
        (checkpoint.path / CURVE).write_bytes(encoded(thinned(self._points, most=MOST_POINTS)))

    def finished(self, evaluation: EvaluationStatus, *, steps: int) -> list[CurvePoint]:
        """Return the points of a run of so many steps, its ends with the held-out rows' loss where none was validated."""
        if any(point.validation_loss is not None for point in self._points):
            return thinned(self._points, most=MOST_POINTS)
        return with_validation(thinned(self._points, most=MOST_POINTS - 2), evaluation, steps=steps)


def encoded(points: Sequence[CurvePoint]) -> bytes:
    """Return the document."""
    return TrainingCurve(points=tuple(points)).model_dump_json(by_alias=True, exclude_none=True).encode()


def thinned(points: Sequence[CurvePoint], *, most: int) -> list[CurvePoint]:
    """Return at most so many of the points (at least 2), evenly over them, with the first and the last.

    Those with a validation loss, which are few, come before the others.
    """
    if len(points) <= most:
        return list(points)
    validated = [point for point in points if point.validation_loss is not None]
    others = [point for point in points if point.validation_loss is None]
    if len(validated) > most - 2 or not others:
        return _evenly(validated or others, most=most)
    return sorted([*validated, *_evenly(others, most=most - len(validated))], key=lambda point: point.step)


def _evenly(points: Sequence[CurvePoint], *, most: int) -> list[CurvePoint]:
    if len(points) <= most:
        return list(points)
    last = len(points) - 1
    return [points[round(number * last / (most - 1))] for number in range(most)]


def with_validation(
    points: Sequence[CurvePoint], evaluation: EvaluationStatus, *, steps: int
) -> list[CurvePoint]:
    """Return the points with the base model's validation loss at step 0, the tuned model's at the last one.

    perplexity = exp(loss), so the loss is its logarithm.
    """
    scored = next((metric for metric in evaluation.metrics if metric.name == PERPLEXITY), None)
    if scored is None:
        return list(points)
    by_step = {point.step: point for point in points}
    for step, score in ((0, scored.base), (steps, scored.tuned)):
        loss = math.log(float(score.value))
        known = by_step.get(step, CurvePoint(step=step))
        by_step[step] = known.model_copy(update={"validation_loss": loss})
    return [by_step[step] for step in sorted(by_step)]

"""The list of metrics, and the two fixed scores of before it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from modelgarden.api.artifact import BaseEvaluation, Evaluation, Manifest
from modelgarden.api.documents import OPERATOR, TRAIN_IMAGE
from modelgarden.api.evaluation import EvaluationStatus, Score
from modelgarden.api.finetunejob import FineTuneJobStatus
from modelgarden.api.pods import TerminationMessage
from tests.unit.api.test_documents import FOLDER
from tests.unit.builders import make_evaluation

FORMER = {
    "rows": 5,
    "base": {"perplexity": "1.01416e+304", "exactMatch": "0.0000"},
    "tuned": {"perplexity": "4.2", "exactMatch": "0.6000"},
}
READ = {
    "rows": 5,
    "metrics": [
        {
            "name": "perplexity",
            "direction": "LowerIsBetter",
            "base": {"value": "1.01416e+304"},
            "tuned": {"value": "4.2"},
        },
        {
            "name": "exactMatch",
            "direction": "HigherIsBetter",
            "base": {"value": "0.0000"},
            "tuned": {"value": "0.6000"},
        },
    ],
}


def text(kind: str, name: str = "everything") -> str:
    return (FOLDER / kind / f"{name}.json").read_text()


def test_a_status_of_before_the_list_is_read_into_it() -> None:
    read = FineTuneJobStatus.readable({"phase": "Complete", "evaluation": FORMER})

    assert read.to_dict() == {"phase": "Complete", "conditions": [], "attempts": [], "evaluation": READ}


def test_scores_are_read_beside_an_empty_list_and_not_beside_one_that_says_something() -> None:
    def read(metrics: list[Any]) -> EvaluationStatus | None:
        return FineTuneJobStatus.readable({"evaluation": {**FORMER, "metrics": metrics}}).evaluation

    assert read([]) == EvaluationStatus.from_dict(READ)
    assert read(make_evaluation().to_dict()["metrics"]) == EvaluationStatus(
        rows=5, metrics=make_evaluation().metrics
    )


def test_documents_of_before_the_list_are_read_into_it() -> None:
    manifest = Manifest.read(text("Manifest"), reader=OPERATOR)
    evaluation = Evaluation.read(text("Evaluation"), reader=OPERATOR)
    message = TerminationMessage.read(text("TerminationMessage", "train-everything"), reader=OPERATOR)

    assert message.evaluation is not None
    for found in (manifest.evaluation, evaluation.scores, message.evaluation):
        assert found.to_dict() == READ


def test_scores_of_the_base_model_in_a_checkpoint_are_read_by_name() -> None:
    read = BaseEvaluation.read(text("BaseEvaluation"), reader=TRAIN_IMAGE)

    assert read.scores == {"perplexity": Score(value="1.01416e+304"), "exactMatch": Score(value="0.0000")}
    assert len(read.answers) == 5


@pytest.mark.parametrize(
    "former",
    [
        {**FORMER, "tuned": None},
        {**FORMER, "base": "31.5"},
        {**FORMER, "base": {}},
    ],
    ids=["without one model", "no scores", "without a score"],
)
def test_former_scores_that_say_nothing_leave_an_empty_list(former: dict[str, Any]) -> None:
    read = FineTuneJobStatus.readable({"evaluation": former}).evaluation

    assert read == EvaluationStatus(rows=5)


def test_a_direction_that_only_a_later_version_knows_costs_the_list_and_not_the_manifest() -> None:
    manifest = Manifest.read(text("Manifest"), reader=OPERATOR)
    newer = manifest.to_dict()
    newer["evaluation"]["metrics"][0]["direction"] = "CloserToOneIsBetter"

    read = Manifest.read(newer, reader=OPERATOR)

    assert read.files == manifest.files
    assert read.evaluation == EvaluationStatus(rows=5)


def test_a_metric_stands_in_the_list_once() -> None:
    twice = make_evaluation().to_dict()
    twice["metrics"][1]["name"] = "perplexity"

    with pytest.raises(ValidationError, match="must not repeat"):
        EvaluationStatus.from_dict(twice)


def test_scores_are_summed_up_in_words() -> None:
    assert make_evaluation().summary == "perplexity 31.5 -> 1.9, exact match 0 -> 0.75 on 20 rows"

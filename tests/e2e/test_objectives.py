"""Every objective in pods: trained towards, registered, served; what vLLM answers is what was asked of the model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from hack.demo.ask import ask
from hack.demo.bucket import open_bucket
from hack.demo.environment import Environment
from hack.demo.follow import wait_for_deployment, wait_for_job
from modelgarden.api.artifact import Manifest
from tests.e2e.jobs import NAMESPACE, applied, served
from tests.e2e.test_main_job import read
from tests.integration.trainer_process import make_answers, make_pairs

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(2400)]

PROMPTS = [f"Which way from {number}" for number in range(20)]
ANSWER_TOKENS = 8
DIGITS = """
def reward(prompts, completions, **kwargs):
    return [sum(letter.isdigit() for letter in text) / 8 for text in completions]
"""
FUNCTION = "objectives/digits.py"


@dataclass(frozen=True)
class Case:
    """An objective, the rows for it, the metric that it moves, and which answers are as asked."""

    rows: list[dict[str, Any]]
    objective: dict[str, Any]
    metric: str
    good: Callable[[str], bool]
    training: dict[str, Any]


def says_up(answer: str) -> bool:
    return answer.startswith("up")


def has_digits(answer: str) -> bool:
    return any(letter.isdigit() for letter in answer)


def case_of(kind: str, bucket: str) -> Case:
    """Return the case of an objective."""
    preferred = {"epochs": 6, "learningRate": 0.002}
    if kind == "GRPO":
        rewards = [{"type": "Python", "python": {"source": f"s3://{bucket}/{FUNCTION}"}}]
        return Case(
            rows=[{"prompt": prompt, "answer": "1"} for prompt in PROMPTS * 3],
            objective={"type": "GRPO", "grpo": {"rewards": rewards, "maxCompletionLength": ANSWER_TOKENS}},
            metric="reward",
            good=has_digits,
            training={"maxSteps": 30, "learningRate": 0.002, "effectiveBatchSize": 8},
        )
    settings = {
        "DPO": {"dpo": {"beta": 0.2, "sftWeight": 0.5}},
        "ORPO": {"orpo": {"beta": 1.0}},
        "KTO": {},
    }[kind]
    return Case(
        rows=make_answers(240) if kind == "KTO" else make_pairs(120),
        objective={"type": kind, **settings},
        metric="preferenceMargin",
        good=says_up,
        training=preferred,
    )


@pytest.mark.parametrize("kind", ["DPO", "ORPO", "KTO", "GRPO"])
def test_an_objective_is_trained_registered_and_served(
    kind: str, environment: Environment, figure: Callable[[str], None]
) -> None:
    bucket = open_bucket(environment)
    case, name = case_of(kind, bucket.name), kind.lower()
    rows = f"objectives/{name}.jsonl"
    bucket.put(rows, "".join(f"{json.dumps(row)}\n" for row in case.rows))
    bucket.put(FUNCTION, DIGITS)

    dataset = {"source": f"s3://{bucket.name}/{rows}"}
    with (
        applied(environment, name, objective=case.objective, dataset=dataset, training=case.training),
        served(environment, name),
    ):
        job = wait_for_job(environment, NAMESPACE, name, timeout=1200, say=lambda _: None)
        artifact = job["status"]["artifact"]["uri"]
        manifest = Manifest.model_validate_json(read(environment, artifact))
        metric = next(one for one in manifest.evaluation.metrics if one.name == case.metric)
        deployment = wait_for_deployment(
            environment, NAMESPACE, name, artifact=artifact, timeout=600, say=lambda _: None
        )
        with environment.port_forward(NAMESPACE, f"service/{name}", 80) as url:
            answers = ask(
                url,
                deployment["status"]["servedModelName"],
                PROMPTS,
                max_tokens=ANSWER_TOKENS,
                on_answer=lambda _: None,
            )

    as_asked = sum(case.good(answer.text) for answer in answers)
    figure(
        f"{kind}: {case.metric} {metric.base.value} to {metric.tuned.value};"
        f" {as_asked} of {len(PROMPTS)} served answers as asked, such as {answers[7].text!r}"
    )
    assert float(metric.tuned.value) > float(metric.base.value)
    assert as_asked >= 0.9 * len(PROMPTS)

"""Training towards rewards on local files: real Unsloth and TRL on the CPU with a tiny random Llama."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hack.cluster import S3Server
from modelgarden.api.artifact import Manifest
from modelgarden.api.curve import TrainingCurve
from modelgarden.api.pods import PodStorage
from modelgarden_pod.folder import Folder
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage import open_folder
from tests.integration.trainer_process import (
    TrainerProcess,
    make_config,
    tiny_model,
    trainer_python,
    write_rows,
)

BUCKET = "rewards"
ROWS = [{"prompt": f"Say the number after {number}", "answer": str(number + 1)} for number in range(64)]
DIGITS = """
def reward(prompts, completions, completion_ids, answer, **kwargs):
    assert len(prompts) == len(completion_ids) == len(answer)
    return [sum(letter.isdigit() for letter in text) / 8 for text in completions]
"""
SHORT = {"type": "Length", "length": {"maxTokens": 2, "slackTokens": 6}}


def make_process(
    folder: Path,
    rewards: Sequence[dict[str, Any]],
    *,
    method: str = "LoRA",
    storage: dict[str, Any] | None = None,
    **settings: Any,
) -> TrainerProcess:
    dataset = folder / "rows.jsonl"
    write_rows(dataset, ROWS)
    config = make_config(run_uri=str(folder / "run"), model=str(tiny_model()), dataset=dataset.as_uri())
    config |= {
        **(storage or {}),
        "method": method,
        "formats": ["Merged16Bit"],
        "objective": {
            "type": "GRPO",
            "grpo": {"rewards": list(rewards), "maxCompletionLength": 8, **settings},
        },
        "training": {
            "maxSteps": 24,
            "learningRate": 0.002 if method == "Full" else 0.005,
            "effectiveBatchSize": 8,
            "maxSequenceLength": 64,
        },
    }
    return TrainerProcess(trainer_python(), folder / "process", config, attempt="attempt-1")


@pytest.fixture
def shelf(s3: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Folder:
    """A folder in S3 for what rewards need."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_key)
    (s3.data / BUCKET).mkdir(exist_ok=True)
    storage = PodStorage(endpoint=s3.endpoint, region=s3.access.region)
    name = re.sub(r"\W+", "-", request.node.name)
    return open_folder(f"s3://{BUCKET}/{name}", storage, patience=Patience(total=5))


def function(shelf: Folder, text: str, **settings: Any) -> dict[str, Any]:
    shelf.write("reward.py", text.encode())
    return {"type": "Python", "python": {"source": f"{shelf.uri}/reward.py", **settings}}


def reaching(s3: S3Server) -> dict[str, Any]:
    return {"storage": {"endpoint": s3.endpoint, "region": s3.access.region}}


def trained(process: TrainerProcess) -> Manifest:
    prepared = process.run("prepare")
    assert prepared.exit_code == 0, prepared.log
    ended = process.run("train")
    assert ended.exit_code == 0, ended.log
    folder = Path(process.config["runUri"])
    return Manifest.model_validate_json((folder / "manifest.json").read_bytes())


def rewards_of(manifest: Manifest) -> tuple[float, float]:
    scores = {metric.name: metric for metric in manifest.evaluation.metrics}
    assert list(scores) == ["exactMatch", "reward"]
    return float(scores["reward"].base.value), float(scores["reward"].tuned.value)


def test_what_a_function_rewards_is_answered_more_often(s3: S3Server, shelf: Folder, tmp_path: Path) -> None:
    rewards = [function(shelf, DIGITS), {"type": "ExactMatch", "weight": 0.5}]
    process = make_process(tmp_path, rewards, storage=reaching(s3))

    manifest = trained(process)

    base, tuned = rewards_of(manifest)
    assert tuned > base + 0.3
    curve = TrainingCurve.model_validate_json((tmp_path / "run/curve.json").read_bytes()).points
    earned = [point.reward for point in curve if point.reward is not None]
    assert len(earned) >= 2
    assert earned[-1] > earned[0]
    used = manifest.hyperparameters
    assert (used["objective"], used["generations"]) == ("GRPO", "8")
    assert used["rewards"] == "Python x 1, ExactMatch x 0.5"
    assert (tmp_path / "run/dataset/rewards/0-reward.py").read_text() == DIGITS


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        pytest.param(
            "LoRA", {"beta": 0.01, "lossType": "GRPO", "temperature": 1.2}, id="near the base model"
        ),
        pytest.param("LoRA", {"lossType": "DrGRPO", "scaleRewards": False}, id="Dr. GRPO"),
        pytest.param("Full", {}, id="all weights"),
    ],
)
def test_short_answers_are_learned_where_they_are_rewarded(
    method: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    base, tuned = rewards_of(trained(make_process(tmp_path, [SHORT], method=method, **settings)))

    assert tuned > base + 0.3


def test_two_processes_learn_from_completions_of_their_own(tmp_path: Path) -> None:
    process = make_process(tmp_path, [SHORT])
    process.config = {**process.config, "gpus": 2}
    process.variables = {"MODELGARDEN_WITHOUT_GPUS": "1"}

    manifest = trained(process)

    base, tuned = rewards_of(manifest)
    assert manifest.hyperparameters["processes"] == "2"
    assert tuned > base + 0.3


@pytest.mark.parametrize(
    ("text", "settings", "want"),
    [
        ("def reward(completions, **kwargs):\n    raise ValueError('no such thing')\n", {}, "no such thing"),
        (
            "def reward(completions, **kwargs):\n    return [float('nan')] * len(completions)\n",
            {},
            "rewards[0] (Python)",
        ),
        (
            "def reward(completions, **kwargs):\n    while True:\n        pass\n",
            {"timeoutSeconds": 1},
            "took longer than 1 s",
        ),
        ("def other(completions, **kwargs):\n    return []\n", {}, "reward"),
    ],
    ids=["raises", "is no number", "hangs", "has no such function"],
)
def test_a_function_that_cannot_judge_ends_prepare(
    text: str, settings: dict[str, Any], want: str, s3: S3Server, shelf: Folder, tmp_path: Path
) -> None:
    reward = function(shelf, text, **settings)

    ended = make_process(tmp_path, [reward], storage=reaching(s3)).run("prepare")

    assert (ended.exit_code, ended.message.reason) == (64, "RewardFailed")
    assert want in ended.message.message
    assert "objective.grpo.rewards[0] (Python)" in ended.message.message


def test_a_file_that_is_not_there_ends_prepare(s3: S3Server, shelf: Folder, tmp_path: Path) -> None:
    missing = {"type": "Python", "python": {"source": f"{shelf.uri}/nowhere.py"}}

    ended = make_process(tmp_path, [missing], storage=reaching(s3)).run("prepare")

    assert (ended.exit_code, ended.message.reason) == (64, "DatasetNotFound")
    assert "nowhere.py" in ended.message.message

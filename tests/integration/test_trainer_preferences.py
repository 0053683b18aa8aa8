"""Preference training on local files: real Unsloth and TRL on the CPU with a tiny random Llama."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from modelgarden.api.artifact import Manifest
from modelgarden.api.curve import TrainingCurve
from modelgarden.api.evaluation import Metric
from tests.integration.trainer_process import (
    TrainerProcess,
    make_answers,
    make_config,
    make_pairs,
    printed_by,
    tiny_model,
    trainer_python,
    write_rows,
)

PROBE = Path(__file__).with_name("preference_probe.py")
FULL = {
    "method": "Full",
    "formats": ["Merged16Bit"],
    "training": {"epochs": 2, "learningRate": 1e-3, "effectiveBatchSize": 32, "maxSequenceLength": 64},
}


def make_process(folder: Path, rows: Sequence[Mapping[str, Any]], **fields: Any) -> TrainerProcess:
    dataset = folder / "rows.jsonl"
    write_rows(dataset, rows)
    config = (
        make_config(run_uri=str(folder / "run"), model=str(tiny_model()), dataset=dataset.as_uri()) | fields
    )
    return TrainerProcess(trainer_python(), folder / "process", config, attempt="attempt-1")


def trained(folder: Path, rows: Sequence[Mapping[str, Any]], **fields: Any) -> tuple[Manifest, str]:
    """Prepare and train; return the manifest and the log."""
    process = make_process(folder, rows, **fields)
    prepared = process.run("prepare")
    assert prepared.exit_code == 0, prepared.log
    ended = process.run("train")
    assert ended.exit_code == 0, ended.log
    return Manifest.model_validate_json((folder / "run/manifest.json").read_bytes()), ended.log


def scores_of(manifest: Manifest) -> dict[str, Metric]:
    return {metric.name: metric for metric in manifest.evaluation.metrics}


def check_curve(folder: Path, name: str) -> None:
    """The curve shows what the objective is followed by, and it rises."""
    points = TrainingCurve.model_validate_json((folder / "run/curve.json").read_bytes()).points
    values = [value for point in points if (value := getattr(point, name)) is not None]
    assert len(values) >= 2
    assert values[-1] > values[0]


def check_margin(manifest: Manifest) -> None:
    margin = scores_of(manifest)["preferenceMargin"]
    assert float(margin.tuned.value) > float(margin.base.value) + 1


def test_dpo_makes_the_chosen_answers_likelier_than_the_rejected_ones(tmp_path: Path) -> None:
    manifest, log = trained(
        tmp_path, make_pairs(120), objective={"type": "DPO", "dpo": {"beta": 0.2, "sftWeight": 0.5}}
    )

    table = pyarrow.parquet.read_table(tmp_path / "run/dataset/train.parquet")
    assert all(len(ids) > 0 for ids in table["rejected_ids"].to_pylist())
    scores = scores_of(manifest)
    assert list(scores) == ["perplexity", "preferenceAccuracy", "preferenceMargin"]
    accuracy = scores["preferenceAccuracy"].tuned
    assert accuracy.numerator == accuracy.denominator
    check_margin(manifest)
    check_curve(tmp_path, "reward_margin")
    used = manifest.hyperparameters
    assert (used["objective"], used["beta"], used["lossType"]) == ("DPO", "0.2", "Sigmoid")
    adapter = json.loads((tmp_path / "run/artifact/adapter/adapter_config.json").read_text())
    assert adapter["r"] == 8
    assert "Checked the merged model" in log


@pytest.mark.parametrize(
    "settings",
    [
        *({"lossType": loss} for loss in ("Hinge", "IPO", "SigmoidNorm", "APOZero", "APODown")),
        {"lossType": "Robust", "labelSmoothing": 0.1},
    ],
    ids=lambda settings: settings["lossType"],
)
def test_every_loss_of_dpo_prefers_the_chosen_answers(settings: dict[str, Any], tmp_path: Path) -> None:
    objective = {"type": "DPO", "dpo": settings}

    check_margin(trained(tmp_path, make_pairs(120), objective=objective, formats=["Adapter"])[0])


def test_orpo_learns_answers_and_preferences_at_once(tmp_path: Path) -> None:
    manifest, _ = trained(
        tmp_path, make_pairs(120), objective={"type": "ORPO", "orpo": {"beta": 1.0}}, formats=["Adapter"]
    )

    check_margin(manifest)
    check_curve(tmp_path, "reward_margin")
    perplexity = scores_of(manifest)["perplexity"]
    assert float(perplexity.tuned.value) < float(perplexity.base.value)


@pytest.mark.parametrize("loss", ["KTO", "APOZero"])
def test_kto_makes_good_answers_likelier_than_bad_ones(loss: str, tmp_path: Path) -> None:
    manifest, _ = trained(
        tmp_path,
        make_answers(240),
        objective={"type": "KTO", "kto": {"lossType": loss}},
        formats=["Adapter"],
    )

    assert list(scores_of(manifest)) == ["perplexity", "preferenceMargin"]
    check_margin(manifest)
    check_curve(tmp_path, "reward_margin")


@pytest.mark.parametrize("objective", ["DPO", "ORPO", "KTO"])
def test_all_weights_are_trained_against_what_the_base_model_said_before(
    objective: str, tmp_path: Path
) -> None:
    rows = make_answers(240) if objective == "KTO" else make_pairs(120)

    check_margin(trained(tmp_path, rows, objective={"type": objective}, **FULL)[0])


def test_the_loss_is_of_the_paper_however_a_step_is_split(tmp_path: Path) -> None:
    found = printed_by(PROBE, str(tiny_model()), folder=tmp_path)

    assert list(found) == ["DPO", "ORPO", "GRPO", "KTO"]
    for kind, step in found.items():
        assert step["passes"] > 0, kind
        assert step["whole"] == pytest.approx(step["by_hand"], rel=1e-5), kind
        assert step["split"] == pytest.approx(step["whole"], rel=1e-5), kind
        assert step["held_out"] == pytest.approx([step["whole"]] * 2, rel=1e-5), (
            "of the same rows, as held-out ones"
        )
        assert step["farthest_gradient"] < 1e-5 * step["largest_gradient"], kind
        assert step["from_by_hand"] < 1e-4 * step["largest_gradient"], kind


@pytest.mark.parametrize(
    ("objective", "rows", "want"),
    [
        pytest.param(
            "DPO",
            [{"prompt": "a", "completion": "b"}],
            "objective.type is DPO, which learns Preference only; set objective.type to SFT",
            id="one answer for DPO",
        ),
        pytest.param(
            "SFT",
            make_pairs(4),
            "the rows are of the format Preference, and objective.type is SFT, which learns PromptCompletion",
            id="two answers for SFT",
        ),
        pytest.param(
            "KTO",
            [row for row in make_answers(60) if row["label"]],
            "rows to train on have the label true, and KTO learns from good and bad answers",
            id="labels that are all true",
        ),
    ],
)
def test_rows_that_the_objective_does_not_learn_end_prepare(
    objective: str, rows: list[dict[str, Any]], want: str, tmp_path: Path
) -> None:
    ended = make_process(tmp_path, rows, objective={"type": objective}).run("prepare")

    assert (ended.exit_code, ended.message.reason) == (64, "DatasetInvalid")
    assert want in ended.message.message

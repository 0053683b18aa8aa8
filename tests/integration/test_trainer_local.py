"""The trainer on local files, as a person would try it: real Unsloth on the CPU with a tiny random Llama."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet
import pytest

from modelgarden.api.artifact import Evaluation, Manifest
from modelgarden.api.curve import TrainingCurve
from modelgarden.api.documents import TRAIN_IMAGE
from modelgarden.api.zones import ZONES
from modelgarden.carbon.intensity import intensity_of
from tests.integration.trainer_process import (
    TrainerProcess,
    make_config,
    make_rows,
    tiny_model,
    trainer_python,
    write_rows,
)


@pytest.fixture(scope="module")
def python() -> Path:
    return trainer_python()


@pytest.fixture(scope="module")
def model() -> Path:
    return tiny_model("--plain")


def make_process(
    python: Path, model: Path, folder: Path, *, rows: Sequence[Mapping[str, Any]], **fields: Any
) -> TrainerProcess:
    dataset = folder / "rows.jsonl"
    write_rows(dataset, rows)
    config = make_config(run_uri=str(folder / "run"), model=str(model), dataset=dataset.as_uri()) | fields
    return TrainerProcess(python, folder / "process", config, attempt="attempt-1")


def check_curve(curve: TrainingCurve, manifest: Manifest) -> None:
    """Every step of a short run is a point, and the ends have what the evaluation found."""
    base, *trained = curve.points
    assert [point.step for point in curve.points] == list(range(9))
    assert all(point.loss and point.gradient_norm for point in trained)
    assert max(point.learning_rate or 0 for point in trained) == pytest.approx(5e-3, rel=0.01)
    assert any(point.tokens_per_second for point in trained)
    scored = manifest.evaluation.metrics[0]
    assert base.validation_loss == pytest.approx(math.log(float(scored.base.value)))
    assert trained[-1].validation_loss == pytest.approx(math.log(float(scored.tuned.value)))


def test_a_wrong_row_ends_prepare_with_its_line_and_field(python: Path, model: Path, tmp_path: Path) -> None:
    rows = [*make_rows(4), {"prompt": "no answer"}]

    ended = make_process(python, model, tmp_path, rows=rows).run("prepare")

    assert (ended.exit_code, ended.message.reason) == (64, "DatasetInvalid")
    assert 'line 5: field "completion" is missing' in ended.message.message
    assert not list((tmp_path / "run").rglob("*.parquet"))


def test_rows_that_no_parser_takes_end_prepare_with_their_lines(
    python: Path, model: Path, tmp_path: Path
) -> None:
    process = make_process(python, model, tmp_path, rows=make_rows(2))
    row = '{"prompt": "a", "completion": "b", "more": %s}\n'
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write(row % ("[" * 100_000 + "]" * 100_000))
        file.write(row % ("9" * 5000))
        file.write(row % f'"{"x" * 20_000_000}"')
        file.write(row % "NaN")

    ended = process.run("prepare")

    assert (ended.exit_code, ended.message.reason) == (64, "DatasetInvalid")
    assert ended.message.message.startswith(
        "4 rows are wrong: line 3: lists or objects are nested too deeply; "
        "line 4: a number has more than 4300 digits; write it as a string; "
        "line 5: the row is longer than 4 MiB; split it or leave it out; and 1 more. A row looks like "
    )
    assert "Traceback" not in ended.log


def test_a_full_training_of_a_base_model_without_a_chat_template(
    python: Path, model: Path, tmp_path: Path
) -> None:
    """One run from prepare to evaluate: the plain template, method Full, drops, a manifest that is what it says."""
    rows = [*make_rows(120), make_rows(1)[0], {"prompt": "long " * 60, "completion": "x"}]
    process = make_process(
        python, model, tmp_path, rows=rows, method="Full", formats=["Merged16Bit"], carbon={}
    )

    prepared = process.run("prepare")
    assert prepared.exit_code == 0, prepared.log
    status = prepared.message.dataset
    assert status is not None
    assert (status.training_rows, status.validation_rows) == (109, 11)
    assert status.dropped == {"Duplicate": 1, "TooLong": 1}

    trained = process.run("train")
    assert trained.exit_code == 0, trained.log
    run = tmp_path / "run"
    body = (run / "manifest.json").read_bytes()
    manifest = Manifest.model_validate_json(body)
    assert trained.message.manifest_sha256 == hashlib.sha256(body).hexdigest()
    assert manifest.formats == {"Merged16Bit": "artifact/merged"}
    assert manifest.hyperparameters["chatTemplate"] == "plain"
    assert manifest.hyperparameters["batching"] == "padding-free"
    for entry in manifest.files:
        content = (run / entry.path).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry.bytes, entry.sha256)
    listed = {entry.path for entry in manifest.files}
    assert {
        "artifact/merged/model.safetensors",
        "artifact/merged/chat_template.jinja",
        "evaluation.json",
        "curve.json",
    } <= listed
    check_curve(TrainingCurve.read((run / "curve.json").read_bytes(), reader=TRAIN_IMAGE), manifest)
    merged = json.loads((run / "artifact/merged/config.json").read_text())
    assert merged["dtype"] == "bfloat16"
    scores = {metric.name: metric for metric in manifest.evaluation.metrics}
    assert list(scores) == ["perplexity", "exactMatch"]
    assert float(scores["perplexity"].tuned.value) < float(scores["perplexity"].base.value)
    assert scores["exactMatch"].tuned.denominator == 11
    evaluation = Evaluation.model_validate_json((run / "evaluation.json").read_bytes())
    assert len(evaluation.rows) == manifest.evaluation.rows == 11
    assert all(row.prompt.startswith("Say the number after") for row in evaluation.rows)
    # No zone: the energy is there, emissions are left out, and the state says so.
    assert manifest.emissions.state == "Partial"
    assert manifest.emissions.emissions_milligrams is None
    assert manifest.emissions.energy_joules.total > 0

    again = process.run("train")
    assert (again.exit_code, again.message.manifest_sha256) == (0, trained.message.manifest_sha256)

    output = tmp_path / "again.json"
    evaluated = process.run("evaluate", "--output", str(output))
    assert evaluated.exit_code == 0, evaluated.log
    rescored, _ = Evaluation.model_validate_json(output.read_bytes()).scores.metrics
    assert float(rescored.tuned.value) == pytest.approx(float(scores["perplexity"].tuned.value), rel=0.05)


def test_conversations_are_trained_with_the_template_that_the_dataset_gives(
    python: Path, model: Path, tmp_path: Path
) -> None:
    template = (
        "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}{# given #}"
    )
    conversations = [
        [
            ("user", f"after {number}"),
            ("assistant", f"{number + 1}"),
            ("user", "next"),
            ("assistant", f"{number + 2}"),
        ]
        for number in range(40)
    ]
    rows = [
        {"messages": [{"role": role, "content": text} for role, text in turns]} for turns in conversations
    ]
    source = tmp_path / "rows.jsonl"
    process = make_process(
        python,
        model,
        tmp_path,
        rows=rows,
        dataset={"sources": [{"uri": source.as_uri()}], "chatTemplate": template},
        formats=["Merged16Bit"],
    )

    prepared = process.run("prepare")
    assert prepared.exit_code == 0, prepared.log
    learned = pyarrow.parquet.read_table(tmp_path / "run/dataset/train.parquet")["spans"].to_pylist()
    assert all(len(bounds) == 4 for bounds in learned), "two answers of each row"

    trained = process.run("train")
    assert trained.exit_code == 0, trained.log
    manifest = Manifest.model_validate_json((tmp_path / "run/manifest.json").read_bytes())
    assert manifest.hyperparameters["chatTemplate"] == "dataset"
    assert (tmp_path / "run/artifact/merged/chat_template.jinja").read_text() == template
    assert trained.log.count("Loaded the model") == 1, "to score, to train, to merge and to check"
    assert "Checked the merged model" in trained.log


def test_a_template_that_fails_ends_prepare(python: Path, model: Path, tmp_path: Path) -> None:
    dataset = {"sources": [{"uri": (tmp_path / "rows.jsonl").as_uri()}], "chatTemplate": "{% for %}"}

    ended = make_process(python, model, tmp_path, rows=make_rows(4), dataset=dataset).run("prepare")

    assert (ended.exit_code, ended.message.reason) == (64, "InvalidConfiguration")
    assert ended.message.message.startswith("dataset.chatTemplate fails: ")
    assert "Traceback" not in ended.log


def test_texts_are_learned_as_a_whole_and_score_no_answers(python: Path, model: Path, tmp_path: Path) -> None:
    rows = [{"text": f"The number after {number} is {number + 1}."} for number in range(60)]
    process = make_process(python, model, tmp_path, rows=rows, formats=["Adapter"])

    prepared = process.run("prepare")
    assert prepared.exit_code == 0, prepared.log
    trained = process.run("train")
    assert trained.exit_code == 0, trained.log

    (perplexity,) = Manifest.model_validate_json(
        (tmp_path / "run/manifest.json").read_bytes()
    ).evaluation.metrics
    assert perplexity.name == "perplexity"
    assert float(perplexity.tuned.value) < float(perplexity.base.value)


OF_LITTLE_MEMORY = """
import torch
from modelgarden_train.objectives import labelled

make = labelled.packed

def packed(rows):
    if sum(len(row["input_ids"]) for row in rows) > 300:
        raise torch.OutOfMemoryError("made up")
    return make(rows)

labelled.packed = packed
"""

ONLY_WITH_CHECKPOINTING = """
import os, torch
from modelgarden_train.objectives import sft

make = sft.sft_trainer

def sft_trainer(scope, model, plan):
    trainer = make(scope, model, plan)
    step = trainer.training_step

    def training_step(*args, **kwargs):
        with open(os.environ["STEPS"], "a") as file:
            file.write(f"{plan.gradient_checkpointing} {trainer.state.global_step}\\n")
        if not plan.gradient_checkpointing and trainer.state.global_step > 5:
            raise torch.OutOfMemoryError("made up")
        return step(*args, **kwargs)

    trainer.training_step = training_step
    return trainer

sft.sft_trainer = sft_trainer
"""


def make_process_with_checkpoints(python: Path, model: Path, folder: Path) -> TrainerProcess:
    process = make_process(
        python,
        model,
        folder,
        rows=make_rows(120),
        formats=["Adapter"],
        checkpoint={"everySteps": 5, "keep": 1},
    )
    assert process.run("prepare").exit_code == 0
    return process


def test_a_step_that_does_not_fit_is_split_where_it_is(python: Path, model: Path, tmp_path: Path) -> None:
    process = make_process_with_checkpoints(python, model, tmp_path)
    process.patch_worker(OF_LITTLE_MEMORY)

    trained = process.run("train")

    assert trained.exit_code == 0, trained.log
    assert trained.log.count("Out of GPU memory, trying smaller passes") >= 1
    assert "trying a smaller plan" not in trained.log
    used = Manifest.model_validate_json((tmp_path / "run/manifest.json").read_bytes()).hyperparameters
    assert used["effectiveBatchSize"] == "32"
    assert int(used["tokensPerPass"]) <= 300
    assert used["gradientCheckpointing"] == "false"


def test_where_no_split_fits_it_goes_on_with_checkpointing_from_the_newest_checkpoint(
    python: Path, model: Path, tmp_path: Path
) -> None:
    process = make_process_with_checkpoints(python, model, tmp_path)
    steps = tmp_path / "steps"
    process.variables = {"STEPS": str(steps)}
    process.patch_worker(ONLY_WITH_CHECKPOINTING)

    trained = process.run("train")

    assert trained.exit_code == 0, trained.log
    assert "Out of GPU memory, trying a smaller plan" in trained.log
    used = Manifest.model_validate_json((tmp_path / "run/manifest.json").read_bytes()).hyperparameters
    assert (used["effectiveBatchSize"], used["gradientCheckpointing"]) == ("32", "true")
    begun: dict[str, int] = {}
    for line in steps.read_text().splitlines():
        checkpointing, step = line.split()
        begun.setdefault(checkpointing, int(step))
    assert begun == {"False": 0, "True": 5}


@pytest.mark.parametrize(
    ("fields", "want_reason", "want_text"),
    [
        ({"modelSource": "/nowhere"}, "ModelNotFound", "/nowhere does not exist"),
        (
            {"dataset": {"sources": [{"uri": "/nowhere/rows.jsonl"}]}},
            "DatasetNotFound",
            "upload it or correct the source",
        ),
        ({"method": "QLoRA"}, "InvalidConfiguration", "QLoRA needs a GPU"),
    ],
)
def test_wrong_input_is_never_retried_and_says_what_to_do(
    fields: dict[str, object],
    want_reason: str,
    want_text: str,
    python: Path,
    model: Path,
    tmp_path: Path,
) -> None:
    process = make_process(python, model, tmp_path, rows=make_rows(4), **fields)

    ended = process.run("prepare")

    assert (ended.exit_code, ended.message.reason) == (64, want_reason)
    assert want_text in ended.message.message


@pytest.fixture(scope="module")
def intensities(python: Path) -> dict[str, Any]:
    """CodeCarbon's version and, by zone, its intensity in milligrams per kWh and the year."""
    code = (
        "import json; from codecarbon import __version__; from codecarbon.input import DataSource\n"
        "rows = DataSource().get_global_energy_mix_data()\n"
        "print(json.dumps({'version': __version__, 'zones': {zone: [round(row['carbon_intensity'] * 1000), "
        "row['year']] for zone, row in rows.items()}}))"
    )
    printed = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout
    return cast(dict[str, Any], json.loads(printed))


def test_the_zones_of_the_api_are_those_of_codecarbon(intensities: dict[str, Any]) -> None:
    assert sorted(intensities["zones"]) == sorted(ZONES)


def test_the_intensities_of_the_operator_are_those_of_codecarbon(intensities: dict[str, Any]) -> None:
    source = f"codecarbon-{intensities['version']}/global_energy_mix.json"
    found = {zone: intensity_of(zone) for zone in ZONES}
    assert {one.source for one in found.values() if one} == {source}
    told = {zone: [one.milligrams_per_kwh, one.data_year] for zone, one in found.items() if one}
    assert told == intensities["zones"]

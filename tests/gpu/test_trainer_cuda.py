"""The trainer on CUDA: LoRA, QLoRA, eviction, and too little memory. Skipped where there is no GPU."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from modelgarden.api.artifact import Manifest
from modelgarden.api.finetunejob import RopeScaling, RopeScalingType
from modelgarden_train.models.rope import with_more_positions
from tests.gpu.training_run import TrainingRow, needs_gpu, trained
from tests.integration.harness.waiting import wait_for
from tests.integration.trainer_process import (
    START_SECONDS,
    Ended,
    TrainerProcess,
    make_answers,
    make_config,
    make_pairs,
    make_rows,
    printed_by,
    tiny_model,
    trainer_python,
    write_rows,
)

ROPE_PROBE = Path(__file__).parents[1] / "integration" / "rope_probe.py"
WITH_LITTLE_MEMORY = """
import torch
torch.cuda.set_per_process_memory_fraction(MIB * 2**20 / torch.cuda.get_device_properties(0).total_memory)
"""
STUCK_ON_THE_GPU = """
import torch
from modelgarden_train.objectives import sft

make = sft.sft_trainer

def sft_trainer(scope, model, plan):
    trainer = make(scope, model, plan)
    step = trainer.training_step

    def training_step(*args, **kwargs):
        if trainer.state.global_step == 5:
            torch.cuda._sleep(10**15)  # a kernel that goes on for days, for which the GPU shows 100 %
        return step(*args, **kwargs)

    trainer.training_step = training_step
    return trainer

sft.sft_trainer = sft_trainer
"""
pytestmark = needs_gpu


@pytest.fixture(scope="module")
def python() -> Path:
    return trainer_python()


@pytest.fixture(scope="module")
def model() -> Path:
    return tiny_model("--dtype", "bfloat16", "--hidden", "1024")


def make_job(
    model: Path, folder: Path, *, rows: list[dict[str, Any]] | None = None, **fields: Any
) -> dict[str, Any]:
    dataset = folder / "rows.jsonl"
    write_rows(dataset, rows or list(make_rows()))
    given = {"gpus": 1} | fields
    return make_config(run_uri=str(folder / "run"), model=str(model), dataset=str(dataset), **given)


def training(**fields: Any) -> dict[str, Any]:
    return {
        "epochs": 6,
        "learningRate": 1e-3,
        "effectiveBatchSize": 32,
        "maxSequenceLength": 512,
        "lora": {"rank": 16, "alpha": 32},
    } | fields


@pytest.mark.parametrize(
    ("method", "optimizer"),
    [("LoRA", "AdamW"), ("QLoRA", "AdamW"), ("Full", "AdamW"), ("Full", "AdamW8bit")],
)
def test_a_run_on_cuda_survives_eviction_and_is_metered(
    method: str,
    optimizer: str,
    python: Path,
    model: Path,
    tmp_path: Path,
    trained_row: Callable[[TrainingRow], None],
) -> None:
    config = make_job(
        model,
        tmp_path,
        method=method,
        training=training(epochs=120, learningRate=1e-4 if method == "Full" else 1e-3, optimizer=optimizer),
        formats=["Merged16Bit"],
        checkpoint={"everySteps": 20, "keep": 2},
    )
    assert (
        TrainerProcess(python, tmp_path / "prepare", config, attempt="prepare").run("prepare").exit_code == 0
    )
    first = TrainerProcess(python, tmp_path / "first", config, attempt="first")
    first.start("train")
    wait_for(lambda: first.reached(20), START_SECONDS, what="the first checkpoint")
    first.send(signal.SIGTERM)
    assert first.wait(90).exit_code == 143

    row = trained(TrainerProcess(python, tmp_path / "second", config, attempt="second"), tmp_path)

    trained_row(row)
    manifest, emissions = row.manifest, row.manifest.emissions
    assert manifest.hyperparameters["optimizer"] == optimizer
    assert row.after < row.before
    assert [(one.id, one.reason) for one in emissions.attempts] == [
        ("first", "Terminated"),
        ("second", "Completed"),
    ]
    assert emissions.methods.gpu == "nvml-energy-counter"
    assert emissions.energy_joules.gpu > 0
    assert len(emissions.devices) == 1


def test_moments_of_8_bits_take_less_of_the_gpu(python: Path, model: Path, tmp_path: Path) -> None:
    peaks = {}
    for optimizer in ("AdamW", "AdamW8bit"):
        folder = tmp_path / optimizer
        config = make_job(
            model, folder, method="Full", training=training(optimizer=optimizer), formats=["Merged16Bit"],
            checkpoint={"everySteps": 5, "keep": 1},
        )  # fmt: skip
        assert TrainerProcess(python, folder / "a", config, attempt="a").run("prepare").exit_code == 0
        process = TrainerProcess(python, folder / "b", config, attempt="b")
        process.start("train")
        wait_for(partial(process.reached, 5), START_SECONDS, what="a checkpoint")
        report = process.report()
        assert report is not None
        peaks[optimizer] = report.progress.gpu_memory_mib or 0
        process.send(signal.SIGTERM)
        process.wait(90)

    print(peaks)
    assert 0 < peaks["AdamW8bit"] < peaks["AdamW"]


@pytest.mark.parametrize("method", ["LoRA", "QLoRA", "Full"])
def test_on_cuda_a_training_stops_early_with_its_best_weights(
    method: str, python: Path, model: Path, tmp_path: Path
) -> None:
    """The validation loss is what the evaluation finds of the same rows, with the weights of the best step."""
    seen = {"validation": {"everySteps": 10}, "earlyStopping": {"patience": 3}}
    config = make_job(
        model,
        tmp_path,
        method=method,
        training=training(epochs=60, learningRateSchedule="Constant", learningRate=3e-3, **seen),
        formats=["Merged16Bit"],
    )
    process = TrainerProcess(python, tmp_path / "process", config, attempt="only")
    assert process.run("prepare").exit_code == 0

    ended = process.run("train")

    assert ended.exit_code == 0, ended.log
    manifest = Manifest.model_validate_json((tmp_path / "run" / "manifest.json").read_bytes())
    found = manifest.validation
    assert found is not None
    print(method, found)
    assert found.stopped_early
    assert found.best_step == found.step - 30
    perplexity, _ = manifest.evaluation.metrics
    assert math.log(float(perplexity.tuned.value)) == pytest.approx(float(found.best_loss), abs=0.05)


def test_a_kernel_that_never_ends_is_a_stall(python: Path, model: Path, tmp_path: Path) -> None:
    config = make_job(
        model, tmp_path, training=training(), formats=["Adapter"], checkpoint={"everySteps": 3, "keep": 1}
    )
    process = TrainerProcess(
        python, tmp_path / "process", config | {"stallTimeoutSeconds": 30}, attempt="only"
    )
    assert process.run("prepare").exit_code == 0
    process.patch_worker(STUCK_ON_THE_GPU)

    ended = process.run("train")

    assert (ended.exit_code, ended.message.reason) == (1, "Stalled"), ended.log
    assert "in training_step" in ended.log, "where the host waited for it"
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["3"]


def test_too_large_a_step_is_split_until_it_fits(python: Path, model: Path, tmp_path: Path) -> None:
    ended = run_with_memory(280, python, model, tmp_path)

    assert ended.exit_code == 0, ended.log
    manifest = Manifest.model_validate_json((tmp_path / "run" / "manifest.json").read_bytes())
    used = manifest.hyperparameters
    print(used)
    assert "Out of GPU memory, trying smaller passes" in ended.log
    assert used["effectiveBatchSize"] == "32"
    assert int(used["tokensPerPass"]) < 32 * 450


def test_a_model_that_never_fits_fails_with_the_arithmetic(python: Path, model: Path, tmp_path: Path) -> None:
    ended = run_with_memory(64, python, model, tmp_path)

    print(ended.log[-3000:])
    assert ended.exit_code == 64
    assert ended.message.reason == "OutOfMemory"


def run_with_memory(mib: int, python: Path, model: Path, folder: Path) -> Ended:
    """Prepare and train with so many MiB of the GPU's memory, on rows of about 450 tokens."""
    rows = [
        {"prompt": f"{number} {'qwxz' * 100}", "completion": f"{number + 1} {'zxwq' * 8}"}
        for number in range(80)
    ]
    config = make_job(model, folder, rows=rows, training=training(epochs=1), formats=["Adapter"])
    process = TrainerProcess(python, folder / "process", config, attempt="only")
    assert process.run("prepare").exit_code == 0
    process.patch_worker(WITH_LITTLE_MEMORY.replace("MIB", str(mib)))
    return process.run("train")


@pytest.mark.parametrize("method", ["LoRA", "QLoRA", "Full"])
@pytest.mark.parametrize("objective", ["DPO", "ORPO", "KTO"])
def test_preferences_are_learned_on_cuda(
    objective: str,
    method: str,
    python: Path,
    model: Path,
    tmp_path: Path,
    trained_row: Callable[[TrainingRow], None],
) -> None:
    config = make_job(
        model,
        tmp_path,
        rows=make_answers(240) if objective == "KTO" else make_pairs(240),
        method=method,
        objective={"type": objective},
        training=training(epochs=4, learningRate=1e-4 if method == "Full" else 1e-3),
        formats=["Merged16Bit"],
    )
    process = TrainerProcess(python, tmp_path / "process", config, attempt="only")
    prepared = process.run("prepare")
    assert prepared.exit_code == 0, prepared.log

    row = trained(process, tmp_path)

    trained_row(row)
    assert row.after > row.before + 1


@pytest.mark.parametrize("method", ["LoRA", "QLoRA"])
def test_an_adapter_is_merged_without_a_second_model(
    method: str, python: Path, model: Path, tmp_path: Path
) -> None:
    config = make_job(model, tmp_path, method=method, training=training(), formats=["Adapter", "Merged16Bit"])
    process = TrainerProcess(python, tmp_path / "process", config, attempt="only")
    assert process.run("prepare").exit_code == 0

    ended = process.run("train")

    assert ended.exit_code == 0, ended.log
    print(method, [line for line in ended.log.splitlines() if "Checked the merged" in line])
    assert "Checked the merged model" in ended.log
    assert ended.log.count("Loaded the model") == 1
    manifest = Manifest.model_validate_json((tmp_path / "run" / "manifest.json").read_bytes())
    assert set(manifest.formats) == {"Adapter", "Merged16Bit"}


@pytest.mark.parametrize("kind", ["YaRN", "Linear"])
def test_scaled_positions_are_on_cuda_what_transformers_makes_of_them(
    kind: RopeScalingType, model: Path, tmp_path: Path
) -> None:
    """Unsloth has rotary positions of its own there."""
    scaling = RopeScaling(type=kind, factor=4.0)
    folder = with_more_positions(model, tmp_path / "scaled", scaling, source="the tiny model")

    told = printed_by(ROPE_PROBE, str(folder), folder=tmp_path)

    assert told["positions"] == 2048
    assert told["farthest"] < 1e-2

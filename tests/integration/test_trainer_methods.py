"""What people set of a training changes it as it should, also where a second attempt goes on, with the real Unsloth."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelgarden.api.artifact import Manifest
from tests.integration.trainer_process import (
    TrainerProcess,
    make_config,
    make_rows,
    printed_by,
    tiny_model,
    trainer_python,
    write_rows,
)

PROBE = Path(__file__).with_name("methods_probe.py")
STEPS, STOP, PEAK = 12, 7, 0.01
"""Of the probe."""
SCHEDULES: dict[str, tuple[str, int, Callable[[int], float]]] = {
    "Cosine": ("Cosine", 1, lambda done: 0.5 * (1 + math.cos(math.pi * (done - 1) / (STEPS - 1)))),
    "Linear": ("Linear", 4, lambda done: (STEPS - done) / (STEPS - 4)),
    "Constant": ("Constant", 3, lambda done: 1.0),
    "InverseSqrt": ("InverseSqrt", 2, lambda done: math.sqrt(2 / done)),
    "WarmupStableDecay": ("WarmupStableDecay", 2, lambda done: 1.0 if done <= 10 else 0.5),
}
"""By the case: the schedule, its warm-up in steps, and its share of the peak after so many steps, past the warm-up."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return printed_by(PROBE, str(tiny_model()), folder=tmp_path_factory.mktemp("methods"))


def values(points: list[dict[str, Any]], name: str) -> list[float]:
    return [point[name] for point in points]


@pytest.mark.parametrize("case", SCHEDULES)
def test_the_learning_rate_goes_as_its_schedule_says(case: str, found: dict[str, Any]) -> None:
    schedule, warmup, share = SCHEDULES[case]
    used, points = found[case]["hyperparameters"], found[case]["whole"]

    assert (used["learningRateSchedule"], used["warmupSteps"]) == (schedule, str(warmup))
    wanted = [done / warmup if done < warmup else share(done) for done in range(STEPS)]
    assert values(points, "learning_rate") == pytest.approx([PEAK * one for one in wanted], abs=1e-6)


def test_a_run_of_so_many_steps_tells_the_epochs_that_they_are(found: dict[str, Any]) -> None:
    used, points = found["Cosine"]["hyperparameters"], found["Cosine"]["whole"]

    assert values(points, "step") == list(range(1, STEPS + 1))
    assert (used["steps"], used["epochs"]) == ("12", "2.4")


@pytest.mark.parametrize(
    "case",
    [
        *SCHEDULES,
        *("clipped", "not clipped", "padded", "noisy", "few targets", "rsLoRA", "DoRA"),
        *("validated", "ended as it was to be validated", "stopped early", "stopped by little"),
    ],
)
def test_a_training_in_two_attempts_has_the_curve_of_one(case: str, found: dict[str, Any]) -> None:
    whole, resumed = found[case]["whole"], found[case]["resumed"]

    assert found[case]["stopped"] == list(range(1, STOP + 1))
    assert values(resumed, "step") == values(whole, "step")
    for name in ("loss", "learning_rate", "gradient_norm"):
        assert values(resumed, name) == pytest.approx(values(whole, name), rel=1e-5)
    assert found[case]["after the end"] == [], "an attempt that finds the last step done does no other"


@pytest.mark.parametrize(
    ("case", "want"),
    [
        ("validated", [0, 5, 10, 12]),
        ("ended as it was to be validated", [0, 7, 12]),
        ("stopped early", [0, 2, 4, 6, 8]),
        ("stopped by little", [0, 3, 6, 9]),
    ],
)
def test_held_out_rows_are_scored_every_so_many_steps(
    case: str, want: list[int], found: dict[str, Any]
) -> None:
    told = found[case]["validations"]

    assert [step for step, _ in told] == want
    assert found[case]["resumed validations"] == [
        [step, pytest.approx(loss, rel=1e-5)] for step, loss in told
    ]


def test_validations_change_nothing_of_a_training(found: dict[str, Any]) -> None:
    validated, plain = found["validated"], found["Cosine"]

    assert values(validated["whole"], "loss") == values(plain["whole"], "loss")
    assert validated["held-out losses"] == pytest.approx([validated["validations"][-1][1]] * 3, rel=1e-5)
    assert validated["hyperparameters"]["validationEverySteps"] == "5"


def test_a_training_stops_where_held_out_rows_get_no_better_with_the_best_weights(
    found: dict[str, Any],
) -> None:
    """Also where it was interrupted between the best step and the last one, and after the last one."""
    stopped = found["stopped early"]
    losses = dict(stopped["validations"])

    assert losses[6] < min(losses[2], losses[4], losses[8])
    assert (values(stopped["whole"], "step")[-1], stopped["steps"]) == (8, 8)
    for told in stopped["found"]:
        assert (told["bestStep"], told["step"], told["stoppedEarly"]) == (6, 8, True)
        assert float(told["bestLoss"]) == pytest.approx(losses[6], rel=1e-5)
    assert stopped["held-out losses"] == pytest.approx([losses[6]] * 3, rel=1e-5)
    used = stopped["hyperparameters"]
    assert (used["steps"], used["earlyStoppingPatience"], used["earlyStoppingMinDelta"]) == ("12", "1", "0.0")


def test_improvements_that_are_too_small_count_for_nothing_but_the_best_step(found: dict[str, Any]) -> None:
    stopped = found["stopped by little"]
    losses = dict(stopped["validations"])

    assert losses[9] < losses[6] < losses[3]
    assert [(told["bestStep"], told["stoppedEarly"]) for told in stopped["found"]] == [(9, True)] * 3


def test_gradients_are_clipped_where_it_is_asked_for(found: dict[str, Any]) -> None:
    plain, clipped, free = (
        values(found[case]["whole"], "loss") for case in ("Cosine", "clipped", "not clipped")
    )

    assert plain[-1] < plain[0] - 0.1
    assert clipped[-1] > clipped[0] - 0.05, "AdamW sees gradients that are far below its epsilon"
    assert free[-1] < free[0] - 0.1
    assert found["clipped"]["hyperparameters"]["maxGradientNorm"] == "1e-12"
    assert values(found["not clipped"]["whole"], "gradient_norm")[0] == pytest.approx(
        values(found["Cosine"]["whole"], "gradient_norm")[0]
    )


def test_padded_rows_learn_the_same(found: dict[str, Any]) -> None:
    padded, plain = found["padded"], found["Cosine"]

    assert padded["hyperparameters"]["batching"] == "padded: training.packing is false"
    assert plain["hyperparameters"]["batching"] == "padding-free"
    assert values(padded["whole"], "loss") == pytest.approx(values(plain["whole"], "loss"), rel=1e-3)


def test_noise_on_the_embeddings_makes_another_loss(found: dict[str, Any]) -> None:
    noisy, padded = found["noisy"], found["padded"]

    assert noisy["hyperparameters"]["neftuneNoiseAlpha"] == "5.0"
    assert noisy["hyperparameters"]["batching"].startswith("padded: NEFTune")
    assert values(noisy["whole"], "loss")[0] != pytest.approx(values(padded["whole"], "loss")[0], rel=1e-4)


def test_only_the_layers_that_are_named_get_adapters(found: dict[str, Any]) -> None:
    trained = found["few targets"]["trained"]

    assert len(trained) == 2 * 2 * 2, "two matrices in two layers of each of two blocks"
    assert all("q_proj.lora_" in name or "down_proj.lora_" in name for name in trained)
    assert found["few targets"]["hyperparameters"]["loraTargets"] == "q_proj, down_proj"
    assert found["Cosine"]["hyperparameters"]["loraTargets"] == "all-linear"


def test_stabilised_adapters_weigh_more(found: dict[str, Any]) -> None:
    """By alpha / sqrt(16) instead of alpha / 16, so that the same learning rate moves the model four times as far."""
    plain, stabilised = (values(found[case]["whole"], "loss") for case in ("Cosine", "rsLoRA"))
    norms = [values(found[case]["whole"], "gradient_norm")[0] for case in ("rsLoRA", "Cosine")]

    assert found["rsLoRA"]["hyperparameters"]["loraUseRslora"] == "true"
    assert norms[0] / norms[1] == pytest.approx(4, rel=1e-3)
    assert stabilised[0] == pytest.approx(plain[0])
    assert stabilised[-1] != pytest.approx(plain[-1], rel=1e-3)


def test_magnitudes_are_learned_beside_directions(found: dict[str, Any]) -> None:
    plain, dora = (values(found[case]["whole"], "loss") for case in ("Cosine", "DoRA"))

    assert found["DoRA"]["hyperparameters"]["loraUseDora"] == "true"
    assert any("lora_magnitude_vector" in name for name in found["DoRA"]["trained"])
    assert dora[0] == pytest.approx(plain[0], rel=1e-4)
    assert dora[-1] < dora[0] - 0.1
    assert dora[-1] != pytest.approx(plain[-1], rel=1e-4)


def test_adapters_of_every_kind_are_merged_as_they_were_trained(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", make_rows(80))
    lora = {
        "rank": 8,
        "alpha": 16,
        "targetModules": ["q_proj", "v_proj", "down_proj"],
        "useRslora": True,
        "useDora": True,
    }
    config = make_config(
        run_uri=str(tmp_path / "run"),
        model=str(tiny_model()),
        dataset=str(tmp_path / "rows.jsonl"),
        training={
            "maxSteps": 6,
            "learningRate": 5e-3,
            "effectiveBatchSize": 16,
            "maxSequenceLength": 64,
            "lora": lora,
        },
    )
    process = TrainerProcess(trainer_python(), tmp_path / "process", config, attempt="attempt-1")

    prepared, trained = process.run("prepare"), process.run("train")

    assert (prepared.exit_code, trained.exit_code) == (0, 0), trained.log
    assert "Checked the merged model" in trained.log
    used = Manifest.model_validate_json((tmp_path / "run/manifest.json").read_bytes()).hyperparameters
    assert (used["steps"], used["epochs"], used["loraUseDora"]) == ("6", "1.2", "true")


def test_a_layer_that_the_base_does_not_have_is_refused_before_a_gpu_is_taken(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", make_rows(8))
    config = make_config(
        run_uri=str(tmp_path / "run"),
        model=str(tiny_model()),
        dataset=str(tmp_path / "rows.jsonl"),
        training={"lora": {"targetModules": ["q_proj", "c_attn"]}},
    )

    ended = TrainerProcess(trainer_python(), tmp_path / "process", config, attempt="1").run("prepare")

    assert (ended.exit_code, ended.message.reason) == (64, "InvalidConfiguration")
    assert "no linear layer named c_attn; it has down_proj, gate_proj, k_proj" in ended.message.message


def test_rows_that_the_base_has_no_positions_for_are_dropped(tmp_path: Path) -> None:
    """Unsloth would scale the positions of the whole model for them, and no merged model would know."""
    long = {"prompt": "q " * 400, "completion": "a " * 200}
    write_rows(tmp_path / "rows.jsonl", [*make_rows(20), long])
    config = make_config(
        run_uri=str(tmp_path / "run"),
        model=str(tiny_model()),
        dataset=str(tmp_path / "rows.jsonl"),
        training={"maxSequenceLength": 4096},
    )

    ended = TrainerProcess(trainer_python(), tmp_path / "process", config, attempt="1").run("prepare")

    assert ended.exit_code == 0, ended.log
    assert ended.message.dataset is not None
    assert ended.message.dataset.dropped == {"TooLong": 1}
    assert ended.message.dataset.lengths is not None
    assert ended.message.dataset.lengths.max <= 512

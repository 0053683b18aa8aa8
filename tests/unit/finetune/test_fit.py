"""The estimate before a GPU is asked for, and trainings that fit none."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from modelgarden.api.emissions import emissions_milligrams
from modelgarden.api.finetunejob import FineTuneJobStatus, Needs
from modelgarden.api.pods import TerminationMessage
from modelgarden.carbon.intensity import intensity_of
from modelgarden.controller.plan import Plan
from modelgarden.controller.view import View
from modelgarden.finetune.observation import Observation
from modelgarden.finetune.plan import plan as plan_for
from modelgarden.finetune.subject import Subject
from modelgarden.workloads.gpus import Gpu
from modelgarden.workloads.jobs import JobState
from tests.unit.api.test_needs import make_needs
from tests.unit.builders import (
    NOW,
    SETTINGS,
    JobBuilder,
    ended_pod,
    make_dataset,
    make_subject,
    running_pod,
    with_status,
    written_status,
)
from tests.unit.finetune.plans import conditions_of, names_of, phase_of, plan_of

GIB = 2**30
H100 = Gpu("NVIDIA-H100-80GB-HBM3", 81_559 * 2**20)
L4 = Gpu("NVIDIA-L4", 23_034 * 2**20)
T4 = Gpu("Tesla-T4", 15_360 * 2**20)
GPU = {"gpus": 1, "cpu": "4", "memory": "16Gi"}
NEEDS = make_needs(weights_bytes=20 * 10**9)
"""20 GB of weights: no T4 holds them, an L4 does with gradient checkpointing."""


def prepared(subject: Subject, *, needs: Needs | None = NEEDS) -> JobState:
    said = TerminationMessage(reason="DatasetReady", message="x", dataset=make_dataset(), needs=needs)
    return JobBuilder(subject, "prepare").with_pod(ended_pod("prepare", 0, message=said)).complete().state()


def training_job(**spec: Any) -> Subject:
    return make_subject(resources=GPU, **spec)


def training_job_on(gpus: int, **spec: Any) -> Subject:
    return make_subject(resources=GPU | {"gpus": gpus}, **spec)


def planned(subject: Subject, *gpus: Gpu, **seen: Any) -> Plan:
    return plan_of(subject, inputs="f" * 32, prepare=prepared(subject), gpus=gpus, **seen)


def estimate_in(plan: Plan) -> dict[str, Any]:
    assert plan.status is not None
    found: dict[str, Any] = plan.status["estimate"]
    return found


def test_what_is_estimated_on_a_known_gpu() -> None:
    plan = planned(training_job(carbon={"zone": "DEU", "pue": 1.2}), H100, L4)

    found = estimate_in(plan)
    seconds = 4 * 7.5e9 * make_dataset().tokens * 3 / (0.45 * 989e12)
    assert (found["gpu"], found["gpuTotalBytes"]) == (H100.product, H100.memory_bytes)
    assert (found["tokensPerPass"], found["gpuMemoryBytes"]) == (16_000, 69 * 10**9)
    assert found["gradientCheckpointing"] is False
    assert found["seconds"] == round(seconds)
    assert found["energyJoules"] == round(seconds * 700)
    intensity = intensity_of("DEU")
    assert intensity is not None
    assert found["emissionsMilligrams"] == emissions_milligrams(
        found["energyJoules"], pue_milli=1200, milligrams_per_kwh=intensity.milligrams_per_kwh
    )
    assert "cost" not in found
    assert "45% of 1 x 989 TFLOPS" in found["method"]
    assert found["needs"] == NEEDS.to_dict()
    assert names_of(plan) == ["bot-train"]


def test_a_training_of_so_many_steps_takes_the_epochs_that_they_are() -> None:
    whole = estimate_in(planned(training_job(training={"epochs": 4, "effectiveBatchSize": 10}), H100))
    half = estimate_in(planned(training_job(training={"maxSteps": 20, "effectiveBatchSize": 10}), H100))

    assert make_dataset().training_rows == 100
    assert half["seconds"] == pytest.approx(whole["seconds"] / 2, abs=1)


def test_validations_take_their_time_too() -> None:
    training = {"maxSteps": 20, "effectiveBatchSize": 10}
    plain = estimate_in(planned(training_job(training=training), H100))
    validated = training_job(
        training=training | {"validation": {"everySteps": 5}}, evaluation={"maxRows": 10}
    )

    found = estimate_in(planned(validated, H100))

    dataset = make_dataset()
    rows = min(10, dataset.validation_rows)
    tokens = 5 * rows * dataset.tokens / dataset.training_rows
    joules = 700 * 2 * 7.5e9 * tokens / (0.45 * 989e12)
    assert found["energyJoules"] - plain["energyJoules"] == pytest.approx(joules, abs=1)
    assert joules > 10
    assert "tokens of all validations" in found["method"]


def test_the_price_of_the_operator_makes_a_cost() -> None:
    subject = training_job()
    priced = SETTINGS.model_copy(update={"gpu_prices": {"NVIDIA-L4": Decimal(3_600_000)}, "currency": "EUR"})
    seen = Observation(inputs="f" * 32, prepare=prepared(subject), gpus=(L4,))

    found = estimate_in(plan_for(View(subject, seen, priced, NOW)))

    # Gradient checkpointing goes forward twice: 6 FLOPs instead of 4. The price makes 1,000 a second.
    seconds = 6 * 7.5e9 * make_dataset().tokens * 3 / (0.45 * 121e12)
    assert (Decimal(found["cost"]) - Decimal(1000 * seconds)).copy_abs() <= Decimal("0.01")
    assert found["currency"] == "EUR"


def test_several_gpus_share_the_time_and_each_takes_its_energy_and_price() -> None:
    several = training_job_on(4, training={"effectiveBatchSize": 16})
    priced = SETTINGS.model_copy(update={"gpu_prices": {H100.product: Decimal(3_600_000)}, "currency": "EUR"})
    seen = Observation(inputs="f" * 32, prepare=prepared(several), gpus=(H100,))

    found = estimate_in(plan_for(View(several, seen, priced, NOW)))

    alone = 4 * 7.5e9 * make_dataset().tokens * 3 / (0.45 * 989e12)
    assert found["seconds"] == round(alone / 4)
    assert found["energyJoules"] == round(alone * 700)
    assert (Decimal(found["cost"]) - Decimal(1000 * alone)).copy_abs() <= Decimal("0.01")
    assert (NEEDS.step_tokens, NEEDS.step_rows) == (32_000, 16)
    assert found["tokensPerPass"] == 8000, "a quarter of the step"


def test_more_gpus_than_a_node_has_wait_for_a_node_with_so_many() -> None:
    two, four = Gpu(H100.product, H100.memory_bytes, count=2), Gpu(L4.product, L4.memory_bytes, count=4)

    refused = planned(training_job_on(8), two, four)

    running = conditions_of(refused)["Running"]
    assert (running["status"], running["reason"]) == ("False", "DoesNotFit")
    assert "asks for 8 GPUs of one node" in running["message"]
    assert "none has more than 4" in running["message"]
    assert "a resources.gpus of 4 at most" in running["message"]
    assert refused.objects == ()
    assert refused.requeue_after == 10.0
    assert names_of(planned(training_job_on(8), two, Gpu(L4.product, L4.memory_bytes))) == ["bot-train"]
    found = estimate_in(planned(training_job_on(4), two, four))
    assert found["gpu"] == L4.product, "no node has four of the larger ones"


def test_how_long_a_model_completes_prompts_is_not_guessed() -> None:
    grpo = {"type": "GRPO", "grpo": {"rewards": [{"type": "ExactMatch"}]}}

    found = estimate_in(planned(training_job(objective=grpo), H100))

    assert found["gpuMemoryBytes"] > 0
    assert not {"seconds", "energyJoules", "emissionsMilligrams", "cost"} & set(found)


def test_a_gpu_without_a_data_sheet_has_memory_only() -> None:
    found = estimate_in(planned(training_job(), Gpu("NVIDIA-X1", 90 * GIB)))

    assert found["gpu"] == "NVIDIA-X1"
    assert not {"seconds", "energyJoules", "emissionsMilligrams", "cost"} & set(found)


def test_where_no_node_tells_of_its_gpu_nothing_is_refused() -> None:
    plan = planned(training_job())

    assert estimate_in(plan)["gpuMemoryBytes"] == 69 * 10**9
    assert "gpu" not in estimate_in(plan)
    assert names_of(plan) == ["bot-train"]


def test_what_cannot_fit_takes_no_gpu_and_is_told_with_the_arithmetic() -> None:
    plan = planned(training_job(), T4)

    running = conditions_of(plan)["Running"]
    assert (running["status"], running["reason"]) == ("False", "DoesNotFit")
    for part in (
        "about 19.7 GiB of a GPU even with one row of 2000 tokens",
        "18.6 for the weights",
        "0.9 for 80.0 M trained parameters",
        "0.2 for the row",
        "Tesla-T4, has 15.0",
        "method QLoRA, a smaller training.lora.rank, a smaller training.maxSequenceLength or a smaller base model",
        "starts by itself once there is a node with a larger one",
    ):
        assert part in running["message"]
    assert plan.objects == ()
    assert phase_of(plan) == "Blocked"
    assert plan.event is not None
    assert (plan.event.type, plan.event.reason) == ("Warning", "DoesNotFit")
    assert plan.requeue_after == 10.0
    assert estimate_in(plan)["gpuMemoryBytes"] > T4.memory_bytes


def test_it_goes_on_by_itself_when_a_larger_gpu_joins() -> None:
    refused = planned(training_job(), T4)
    subject = written_status(training_job(), refused.status)

    # The prepare Job and its pod may be gone meanwhile: the status has what is needed.
    plan = plan_of(subject, gpus=(H100, T4))

    assert names_of(plan) == ["bot-train"]
    assert conditions_of(plan)["Running"]["reason"] == "Pending"
    assert estimate_in(plan)["gpu"] == H100.product


@pytest.mark.parametrize(
    ("training", "want"),
    [
        ({}, "gradients and AdamW, 0.2 for the row"),
        ({}, "method LoRA or QLoRA, training.optimizer AdamW8bit, a smaller training.maxSequenceLength"),
        ({"optimizer": "AdamW8bit"}, "gradients and AdamW8bit, 0.2 for the row"),
        ({"optimizer": "AdamW8bit"}, "method LoRA or QLoRA, a smaller training.maxSequenceLength"),
    ],
)
def test_what_does_not_fit_is_told_of_an_optimizer_that_keeps_less(
    training: dict[str, Any], want: str
) -> None:
    plan = planned(training_job(method="Full", training=training), T4)

    assert want in conditions_of(plan)["Running"]["message"]


def test_what_may_fit_within_the_error_of_the_estimate_is_tried() -> None:
    total = NEEDS.least().bytes
    almost = Gpu("NVIDIA-X1", int(total * 0.86) + 600 * 2**20)

    plan = planned(training_job(), almost)

    assert names_of(plan) == ["bot-train"]
    assert estimate_in(plan)["gpuMemoryBytes"] == total


def test_a_dry_run_tells_that_the_training_would_not_fit() -> None:
    plan = planned(training_job(dryRun=True), T4)

    complete = conditions_of(plan)["Complete"]
    assert (complete["status"], complete["reason"]) == ("True", "DryRun")
    assert "Training would not start as it is: Training takes about 19.7 GiB" in complete["message"]
    assert estimate_in(plan)["gpu"] == T4.product


def test_on_a_cpu_nothing_is_estimated() -> None:
    plan = planned(make_subject(), T4)

    assert plan.status is not None
    assert "estimate" not in plan.status
    assert names_of(plan) == ["bot-train"]


def test_a_report_of_an_earlier_trainer_is_not_estimated() -> None:
    subject = training_job()

    plan = plan_of(subject, inputs="f" * 32, prepare=prepared(subject, needs=None), gpus=(T4,))

    assert plan.status is not None
    assert "estimate" not in plan.status
    assert names_of(plan) == ["bot-train"]


@pytest.mark.parametrize("had", ["a Job", "an attempt"])
def test_a_training_that_began_is_left_alone(had: str) -> None:
    known = estimate_in(planned(training_job(), H100))
    status = FineTuneJobStatus.from_dict({"estimate": known, "dataset": make_dataset().to_dict()})
    subject = with_status(training_job(), estimate=status.estimate, dataset=status.dataset)
    train = JobBuilder(subject, "train").with_pod(running_pod("train")).state()
    if had == "an attempt":
        plan = plan_of(subject, inputs="f" * 32, prepare=prepared(subject), train=train)
        subject, seen = written_status(subject, plan.status), {}
    else:
        seen = {"train": train}

    plan = planned(subject, T4, **seen)

    assert estimate_in(plan) == known
    assert conditions_of(plan)["Running"]["reason"] != "DoesNotFit"

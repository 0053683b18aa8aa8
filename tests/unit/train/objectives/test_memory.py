"""How a step is split: the effective batch size never changes, the memory it takes only falls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden.api.finetunejob import Method
from modelgarden_train.objectives.memory import StepPlan, first_plan, model_does_not_fit, out_of_memory


@pytest.mark.parametrize(
    ("effective", "longest", "gpu", "want_micro"),
    [
        pytest.param(32, 96, False, 32, id="a small batch goes in one piece"),
        pytest.param(16, 2048, True, 8, id="a budget of tokens"),
        pytest.param(12, 4096, True, 4, id="the largest divisor in the budget"),
        pytest.param(17, 2048, True, 1, id="a prime number has no other divisor"),
        pytest.param(4, 1_000_000, True, 1, id="a row beyond the budget"),
    ],
)
def test_the_first_micro_batch(effective: int, longest: int, gpu: bool, want_micro: int) -> None:
    plan = first_plan(effective_batch=effective, longest_row=longest, gpu=gpu)

    assert plan.micro_batch == want_micro
    assert plan.micro_batch * plan.gradient_accumulation == effective


@given(effective=st.integers(1, 4096))
def test_every_smaller_plan_keeps_the_effective_batch(effective: int) -> None:
    plan: StepPlan | None = StepPlan(effective_batch=effective, micro_batch=effective, longest_row=128)
    seen = []
    while plan is not None:
        assert plan.micro_batch * plan.gradient_accumulation == effective
        seen.append((plan.gradient_checkpointing, -plan.micro_batch))
        plan = plan.smaller()

    assert seen == sorted(set(seen))
    assert seen[-1] == (True, -1)


def test_the_failure_shows_the_arithmetic() -> None:
    plan = StepPlan(effective_batch=4, micro_batch=1, longest_row=512, gradient_checkpointing=True)

    error = out_of_memory(
        plan,
        method="LoRA",
        parameters=8 * 10**9,
        trainable=10**8,
        total_bytes=24 * 2**30,
        used_bytes=23 * 2**30,
    )

    assert error.reason == "OutOfMemory"
    assert error.exit_code == 64
    for part in (
        "24.0 GiB",
        "micro-batch 1 of 512 tokens",
        "23.0 GiB",
        "8000.0 M",
        "100.0 M",
        "1.5 GiB",
        "QLoRA",
    ):
        assert part in error.message


@pytest.mark.parametrize(
    ("method", "want_training", "want_model"),
    [
        (
            "Full",
            "memory, method LoRA or QLoRA or a smaller training.maxSequenceLength",
            "memory, method LoRA or QLoRA or a smaller base model: CUDA",
        ),
        (
            "LoRA",
            "memory, method QLoRA, a smaller training.maxSequenceLength or a smaller training.lora.rank",
            "memory, method QLoRA or a smaller base model: CUDA",
        ),
        (
            "QLoRA",
            "memory, a smaller training.maxSequenceLength or a smaller training.lora.rank",
            "memory, or a smaller base model: CUDA",
        ),
    ],
)
def test_a_run_is_only_told_to_use_what_it_does_not_use_yet(
    method: Method, want_training: str, want_model: str
) -> None:
    plan = StepPlan(effective_batch=4, micro_batch=1, longest_row=512, gradient_checkpointing=True)
    training = out_of_memory(plan, method=method, parameters=1, trainable=1, total_bytes=1, used_bytes=1)
    model = model_does_not_fit(method, "CUDA")

    assert training.message.endswith(f"Use a GPU with more {want_training}")
    assert f"use a GPU with more {want_model}" in model.message
    assert (model.reason, model.exit_code) == ("OutOfMemory", 64)

"""How much goes through at once: the effective batch size never changes, the tokens of a pass follow the memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden.api.finetunejob import Method, Training
from modelgarden_train.objectives.memory import (
    CPU_TOKENS,
    GPU_TOKENS,
    MOST_GPU_TOKENS,
    Peak,
    StepPlan,
    first_plan,
    model_does_not_fit,
    out_of_memory,
)
from tests.unit.train.builders import make_config


@pytest.mark.parametrize(
    ("effective", "longest", "gpu", "want"),
    [
        pytest.param(32, 96, False, 3072, id="a small step goes in one pass"),
        pytest.param(512, 96, False, CPU_TOKENS, id="a CPU's budget"),
        pytest.param(16, 2048, True, GPU_TOKENS, id="a GPU's budget"),
        pytest.param(4, 1_000_000, True, 1_000_000, id="a row beyond the budget"),
    ],
)
def test_the_first_budget(effective: int, longest: int, gpu: bool, want: int) -> None:
    plan = first_plan(effective_batch=effective, longest_row=longest, gpu=gpu)

    assert (plan.budget, plan.effective_batch, plan.gradient_checkpointing) == (want, effective, False)


@given(effective=st.integers(1, 4096), longest=st.integers(1, 50_000))
def test_budgets_fall_to_the_longest_row_and_then_comes_checkpointing(effective: int, longest: int) -> None:
    plan: StepPlan | None = first_plan(effective_batch=effective, longest_row=longest, gpu=True)
    seen = []
    while plan is not None:
        assert plan.budget >= longest
        seen.append((plan.gradient_checkpointing, -plan.budget))
        plan = plan.smaller(plan.budget)

    assert seen == sorted(set(seen))
    assert seen[-1] == (True, -longest)
    assert [checkpointing for checkpointing, _ in seen].count(True) == 1


def test_a_pass_that_was_smaller_than_the_budget_counts_as_it_was() -> None:
    plan = StepPlan(effective_batch=16, budget=16_384, longest_row=500)

    found = plan.smaller(3_000)

    assert found is not None
    assert (found.budget, found.limit) == (1_500, 3_000)
    assert plan.smaller(400) == replace(plan, gradient_checkpointing=True)


def test_checkpointing_makes_room_for_larger_passes_again() -> None:
    plan = StepPlan(effective_batch=16, budget=500, longest_row=500, limit=900)

    found = plan.smaller(500)

    assert found is not None
    assert (found.gradient_checkpointing, found.budget, found.limit) == (True, 500, MOST_GPU_TOKENS)


@pytest.mark.parametrize(
    ("most", "limit", "want"),
    [
        # 10 GiB lie between the steps and 1,000 tokens take 8 GiB more; of 80 GiB, 72 may be used.
        pytest.param(18, MOST_GPU_TOKENS, 7_750, id="what the memory holds"),
        pytest.param(18, 4_000, 4_000, id="but no more than did not fit"),
        pytest.param(70, MOST_GPU_TOKENS, 1_000, id="a little more is not worth it"),
        pytest.param(79, MOST_GPU_TOKENS, 1_000, id="it never falls"),
        pytest.param(10, MOST_GPU_TOKENS, MOST_GPU_TOKENS, id="passes that take nothing"),
    ],
)
def test_a_budget_grows_to_what_the_memory_holds(most: int, limit: int, want: int) -> None:
    gib = 2**30
    plan = StepPlan(effective_batch=16, budget=1_000, longest_row=500, limit=limit)

    found = plan.larger(Peak(tokens=1_000, before=10 * gib, most=most * gib, total=80 * gib))

    assert found == replace(plan, budget=want)


def test_the_failure_shows_the_arithmetic() -> None:
    plan = StepPlan(effective_batch=4, budget=512, longest_row=512, gradient_checkpointing=True)

    error = out_of_memory(
        plan,
        config=make_config(method="LoRA"),
        parameters=8 * 10**9,
        trainable=10**8,
        total_bytes=24 * 2**30,
        used_bytes=23 * 2**30,
    )

    assert error.reason == "OutOfMemory"
    assert error.exit_code == 64
    for part in (
        "24.0 GiB",
        "one row of 512 tokens at a time",
        "23.0 GiB",
        "8000.0 M",
        "100.0 M",
        "trained at 22 bytes each (2.0 GiB",
        "QLoRA",
    ):
        assert part in error.message


@pytest.mark.parametrize(
    ("method", "want_training", "want_model"),
    [
        (
            "Full",
            "memory, method LoRA or QLoRA, training.optimizer AdamW8bit or a smaller training.maxSequenceLength",
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
    plan = StepPlan(effective_batch=4, budget=512, longest_row=512, gradient_checkpointing=True)
    config = make_config(method=method)
    training = out_of_memory(plan, config=config, parameters=1, trainable=1, total_bytes=1, used_bytes=1)
    model = model_does_not_fit(method, "CUDA")

    assert training.message.endswith(f"Use a GPU with more {want_training}")
    assert f"use a GPU with more {want_model}" in model.message
    assert (model.reason, model.exit_code) == ("OutOfMemory", 64)


def test_eight_bits_of_the_optimizer_count_less() -> None:
    plan = StepPlan(effective_batch=4, budget=512, longest_row=512, gradient_checkpointing=True)
    config = make_config(method="Full", gpus=1, training=Training(optimizer="AdamW8bit"))

    told = out_of_memory(plan, config=config, parameters=1, trainable=2**30, total_bytes=1, used_bytes=1)

    assert "trained at 6 bytes each (6.0 GiB for weights, gradients and AdamW8bit)" in told.message
    assert told.message.endswith("memory, method LoRA or QLoRA or a smaller training.maxSequenceLength")

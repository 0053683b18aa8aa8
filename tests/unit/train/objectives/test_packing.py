"""Which rows share a pass, and which models take them without padding."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden_train.objectives.packing import parts, why_padded

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0},
    "attention_dropout": 0.0,
    "layer_types": ["full_attention", "sliding_attention"],
}
LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=60)


@given(lengths=LENGTHS, budget=st.integers(1, 900), padded=st.booleans())
def test_every_row_goes_through_once_within_the_budget_or_alone(
    lengths: list[int], budget: int, padded: bool
) -> None:
    found = parts(lengths, budget=budget, padded=padded)

    assert sorted(row for rows in found for row in rows) == list(range(len(lengths)))
    for rows in found:
        taken = [lengths[row] for row in rows]
        tokens = max(taken) * len(taken) if padded else sum(taken)
        assert tokens <= budget or len(rows) == 1


@pytest.mark.parametrize(
    ("lengths", "budget", "padded", "want"),
    [
        pytest.param([5, 9, 3], 17, False, [[0, 1, 2]], id="all in one pass"),
        pytest.param([6, 9, 3, 6], 16, False, [[1, 2], [0, 3]], id="two passes of like size"),
        pytest.param([8, 8, 8], 16, False, [[0, 2], [1]], id="whole rows only"),
        pytest.param([40, 3, 3], 16, False, [[0], [1, 2]], id="a row beyond the budget has its own"),
        pytest.param([6, 9, 3, 6], 18, True, [[1, 0], [3, 2]], id="padding counts"),
        pytest.param([40, 3, 3], 16, True, [[0], [1, 2]], id="padding counts, beyond the budget"),
    ],
)
def test_the_passes_of_a_step(lengths: list[int], budget: int, padded: bool, want: list[list[int]]) -> None:
    assert parts(lengths, budget=budget, padded=padded) == want


@given(lengths=LENGTHS, budget=st.integers(300, 900))
def test_without_padding_there_are_few_passes(lengths: list[int], budget: int) -> None:
    # LPT needs at most a third more room than the best split has, and no row is larger than a pass.
    fewest = -(-sum(lengths) // budget)

    assert len(parts(lengths, budget=budget, padded=False)) <= 2 * fewest


def test_rows_of_a_llama_need_no_padding() -> None:
    assert why_padded(LLAMA, {}) is None
    assert why_padded({"model_type": "llama", "rope_theta": 10000.0}, {"neftune_noise_alpha": None}) is None


@pytest.mark.parametrize(
    ("model", "want"),
    [
        ({"vision_config": {}}, "more than text"),
        ({"audio_config": {}}, "more than text"),
        ({"is_encoder_decoder": True}, "encoder and a decoder"),
        ({"model_type": "gemma2"}, "no kernel"),
        ({"model_type": "gpt_oss"}, "no kernel"),
        ({"attn_logit_softcapping": 50.0}, "no kernel"),
        ({"rope_parameters": None}, "not rotary"),
        ({"alibi": True}, "not rotary"),
        ({"rope_parameters": {"rope_type": "dynamic"}}, "dynamic RoPE"),
        ({"rope_scaling": {"type": "longrope"}}, "longrope RoPE"),
        ({"rope_parameters": {"full_attention": {"rope_type": "dynamic"}}}, "dynamic RoPE"),
        ({"layer_types": ["full_attention", "linear_attention"]}, "carry a state"),
        ({"mamba_d_state": 16}, "carry a state"),
        ({"output_router_logits": True, "router_aux_loss_coef": 0.001}, "router's loss"),
        ({"attention_dropout": 0.1}, "drops out"),
    ],
)
def test_other_models_are_padded_and_it_is_said_why(model: dict[str, Any], want: str) -> None:
    found = why_padded(LLAMA | model, {})

    assert found is not None
    assert want in found
    assert len(f"padded: {found}") <= 128  # as a hyperparameter in the status


def test_noise_on_the_embeddings_is_padded() -> None:
    assert "NEFTune" in (why_padded(LLAMA, {"neftune_noise_alpha": 5}) or "")


def test_padding_may_be_asked_for() -> None:
    assert why_padded(LLAMA, {}, packing=False) == "training.packing is false"


def test_a_router_whose_loss_is_not_added_needs_no_padding() -> None:
    assert why_padded(LLAMA | {"output_router_logits": False, "router_aux_loss_coef": 0.001}, {}) is None

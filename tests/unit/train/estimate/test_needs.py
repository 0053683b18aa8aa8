"""The memory of a training, by the size of the model, the method and the lengths of the rows."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden.api.finetunejob import LoraParameters, Method, Needs, Training
from modelgarden_train.estimate.model_size import model_size
from modelgarden_train.estimate.needs import largest_step, needs_of
from tests.unit.train.builders import make_config
from tests.unit.train.estimate.models import LLAMA_8B, decoder_shapes

SIZE = model_size(LLAMA_8B, decoder_shapes(LLAMA_8B))
PARAMETERS = 8_030_261_248
ADAPTERS_RANK_32 = 83_886_080
"""As PEFT counts them on all linear layers of a Llama of 8 B."""


def needs(method: Method = "LoRA", *, lengths: tuple[int, ...] = (2030,) * 400, batch: int = 16) -> Needs:
    assert SIZE is not None
    training = Training(effective_batch_size=batch, lora=LoraParameters(rank=32))
    return needs_of(make_config(method=method, training=training), SIZE, lengths)


@pytest.mark.parametrize(
    ("method", "weights", "trained", "bytes_each"),
    [
        pytest.param("LoRA", 2 * PARAMETERS, ADAPTERS_RANK_32, 22, id="16 bit"),
        pytest.param("QLoRA", 5_700_780_032, ADAPTERS_RANK_32, 22, id="4 bit but for embedding and head"),
        pytest.param("Full", 0, PARAMETERS, 8, id="all in bfloat16"),
    ],
)
def test_weights_follow_the_method(method: Method, weights: int, trained: int, bytes_each: int) -> None:
    found = needs(method)

    assert found.weights_bytes == pytest.approx(weights, rel=1e-3)
    assert found.trained_parameters == trained
    assert found.trained_bytes == bytes_each * trained


def test_moments_of_8_bits_take_less_but_for_those_of_the_embedding() -> None:
    assert SIZE is not None
    config = make_config(method="Full", gpus=1, training=Training(optimizer="AdamW8bit"))

    found = needs_of(config, SIZE, (2030,) * 400)

    embedded = 128_256 * 4096
    assert found.trained_bytes == 6 * (PARAMETERS - embedded) + 12 * embedded
    assert found.trained_bytes < needs("Full").trained_bytes


@pytest.mark.parametrize(
    ("lora", "want"),
    [
        pytest.param(LoraParameters(rank=32), ADAPTERS_RANK_32, id="all linear layers"),
        pytest.param(
            LoraParameters(rank=8, target_modules=("q_proj", "down_proj")),
            32 * 8 * (4096 + 4096 + 4096 + 14_336),
            id="two of a layer",
        ),
        pytest.param(
            LoraParameters(rank=8, target_modules=("k_proj",), use_dora=True),
            32 * (8 * (1024 + 4096) + 1024),
            id="with magnitudes",
        ),
    ],
)
def test_only_what_has_adapters_is_trained(lora: LoraParameters, want: int) -> None:
    assert SIZE is not None

    found = needs_of(make_config(training=Training(lora=lora)), SIZE, [100])

    assert found.trained_parameters == want


def test_a_token_keeps_what_the_layers_keep_of_it() -> None:
    found = needs()

    layer = 2 * (4 * 4096 + 2 * 4096 + 2 * 1024 + 2 * 14_336)
    assert found.token_bytes == 32 * layer + 8 * 4096
    assert found.checkpointed_token_bytes == layer + 8 * 4096
    assert found.logits_bytes == 16 * 128_256


def test_eight_rows_of_2048_tokens_fit_an_h200_without_checkpointing_and_no_h100() -> None:
    """As measured, see the figures of the padding-free trainer."""
    taken = needs(lengths=(2048,) * 8).bytes_of(8 * 2048)

    assert 75e9 < taken < 141e9


@pytest.mark.parametrize(
    ("tokens", "measured_mib"),
    [
        pytest.param(8_120, 46_632, id="bare Unsloth, four rows of 2,030 tokens a pass"),
        pytest.param(4_602, 33_070, id="16 chat rows a step, the largest of those that were done"),
        pytest.param(13_250, 62_150, id="64 chat rows a step"),
        pytest.param(16_232, 77_572, id="eight rows of 2,030 tokens a pass, the card is full"),
    ],
)
def test_an_h100_took_as_much_as_is_estimated(tokens: int, measured_mib: int) -> None:
    """What bench/training.py measured on 2026-11-26, see docs/benchmarks.md."""
    assert needs().bytes_of(tokens) == pytest.approx(measured_mib * 2**20, rel=0.1)


def test_a_model_whose_rows_are_padded_takes_each_as_long_as_the_longest() -> None:
    size = model_size(LLAMA_8B | {"model_type": "gemma2"}, decoder_shapes(LLAMA_8B))
    assert size is not None

    found = needs_of(make_config(), size, [100] * 50 + [400])

    assert (found.step_tokens, found.step_rows) == (16 * 400, 16)


@pytest.mark.parametrize("fields", [{"packing": False}, {"neftune_noise_alpha": 5.0}])
def test_rows_are_padded_where_the_spec_asks_for_it(fields: dict[str, Any]) -> None:
    assert SIZE is not None

    found = needs_of(make_config(training=Training(**fields)), SIZE, [100] * 50 + [400])

    assert found.step_tokens == 16 * 400


def test_few_steps_are_less_likely_to_meet_the_longest_rows() -> None:
    assert SIZE is not None
    lengths = [100] * 900 + [400] * 100

    few, many = (
        needs_of(make_config(training=Training(max_steps=steps)), SIZE, lengths).step_tokens
        for steps in (2, 2000)
    )

    assert few < many


def test_equal_rows_make_equal_steps() -> None:
    found = needs(batch=16)

    assert (found.step_tokens, found.step_rows, found.longest_row) == (16 * 2030, 16, 2030)
    assert found.first_budget == 16_384


def test_the_largest_of_many_steps_is_foreseen() -> None:
    chance = random.Random(5)
    lengths = [round(chance.lognormvariate(5, 0.6)) + 10 for _ in range(4_000)]
    epochs, batch = 3, 32
    largest = 0
    for _ in range(epochs):
        chance.shuffle(lengths)
        largest = max(
            largest, *(sum(lengths[begin : begin + batch]) for begin in range(0, len(lengths), batch))
        )

    steps = epochs * len(lengths) // batch

    assert largest_step(lengths, batch=batch, steps=steps) == pytest.approx(largest, rel=0.1)


@given(lengths=st.lists(st.integers(1, 5_000), min_size=1, max_size=60), batch=st.integers(1, 128))
def test_a_step_has_at_least_its_longest_row_and_at_most_as_many_of_it(
    lengths: list[int], batch: int
) -> None:
    found = largest_step(lengths, batch=batch, steps=2 * -(-len(lengths) // batch))

    assert max(lengths) <= found <= min(batch, len(lengths)) * max(lengths)

"""The numbers of a base model, from its config.json and the shapes of its tensors."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden_train.estimate.model_size import model_size
from tests.unit.train.estimate.models import LLAMA_8B, decoder_shapes


def test_a_llama_of_8_b_has_the_published_parameters() -> None:
    size = model_size(LLAMA_8B, decoder_shapes(LLAMA_8B))

    assert size is not None
    assert size.parameters == 8_030_261_248  # https://huggingface.co/meta-llama/Llama-3.1-8B
    assert size.active == size.parameters - 128_256 * 4096
    assert size.quantized == size.parameters - 2 * 128_256 * 4096 - 65 * 4096
    assert (size.queries, size.keys, size.inner) == (4096, 1024, 14_336)


def test_an_embedding_that_is_the_output_too_is_multiplied_with() -> None:
    shapes = {name: shape for name, shape in decoder_shapes(LLAMA_8B).items() if "lm_head" not in name}

    size = model_size(LLAMA_8B, shapes)

    assert size is not None
    assert size.active == size.parameters


def test_of_a_mixture_a_token_goes_through_its_experts_only() -> None:
    config = LLAMA_8B | {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 512}
    shapes = {"model.layers.0.mlp.experts.gate_up_proj": (8, 4096, 1024), "lm_head.weight": (100, 10)}

    size = model_size(config, shapes)

    assert size is not None
    assert size.active == 2 * 4096 * 1024 + 1000
    assert size.inner == 1024
    assert size.linear == {}


def test_of_a_model_that_sees_too_the_part_that_reads_counts() -> None:
    size = model_size({"vision_config": {}, "text_config": LLAMA_8B}, decoder_shapes(LLAMA_8B))

    assert size is not None
    assert (size.layers, size.vocabulary) == (32, 128_256)


@pytest.mark.parametrize(
    ("config", "shapes"),
    [
        ({"num_hidden_layers": 10**5}, {}),
        ({"intermediate_size": 10**30}, {}),
        ({"vocab_size": 10**9}, {}),
        ({}, {"x.weight": (10**9, 10**9)}),
        ({}, {"x.weight": (10**11, 1)}),
        ({}, {"model.norm.weight": (0,)}),
    ],
    ids=["layers", "width", "vocabulary", "parameters", "edges", "nothing"],
)
def test_what_no_model_has_is_not_estimated(
    config: dict[str, int], shapes: dict[str, tuple[int, ...]]
) -> None:
    assert model_size(LLAMA_8B | config, shapes or decoder_shapes(LLAMA_8B)) is None


@pytest.mark.parametrize(
    "config",
    [
        {},
        LLAMA_8B | {"num_hidden_layers": "many"},
        LLAMA_8B | {"hidden_size": True},
        LLAMA_8B | {"intermediate_size": -1},
    ],
    ids=["empty", "text", "boolean", "negative"],
)
def test_what_is_no_decoder_is_not_estimated(config: dict[str, Any]) -> None:
    assert model_size(config, decoder_shapes(LLAMA_8B)) is None

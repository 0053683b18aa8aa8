"""Which tensor of a base model's files holds the weight of a layer."""

from __future__ import annotations

import pytest

from modelgarden_train.models.weights import tensor_of

LAYER = "model.layers.1.mlp.up_proj"


@pytest.mark.parametrize(
    ("tensors", "want"),
    [
        pytest.param([f"{LAYER}.weight"], f"{LAYER}.weight", id="of the same name"),
        pytest.param(
            [f"other.{LAYER}.weight", f"{LAYER}.weight"], f"{LAYER}.weight", id="the same name goes first"
        ),
        pytest.param(["layers.1.mlp.up_proj.weight"], "layers.1.mlp.up_proj.weight", id="less before it"),
        pytest.param([f"language.{LAYER}.weight"], f"language.{LAYER}.weight", id="more before it"),
        pytest.param(
            ["text.layers.1.mlp.up_proj.weight"],
            "text.layers.1.mlp.up_proj.weight",
            id="another word before it",
        ),
        pytest.param(["layers.11.mlp.up_proj.weight"], None, id="another layer"),
        pytest.param([f"text.{LAYER}.weight", f"vision.{LAYER}.weight"], None, id="two that could be it"),
        pytest.param([f"{LAYER}.bias", "up_proj.weight_scale"], None, id="no weight"),
        pytest.param([], None, id="nothing"),
    ],
)
def test_the_tensor_of_a_layer_is_found_by_name(tensors: list[str], want: str | None) -> None:
    assert tensor_of(LAYER, tensors) == want

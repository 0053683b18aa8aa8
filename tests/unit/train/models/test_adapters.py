"""Adapters go on the layers that a model has."""

from __future__ import annotations

import pytest

from modelgarden.api.finetunejob import LoraParameters, Training
from modelgarden_pod.errors import UserError
from modelgarden_train.models.adapters import require_layers
from tests.unit.train.builders import make_config

LAYERS = ("q_proj", "k_proj", "down_proj")


def training(*targets: str) -> Training:
    return Training(lora=LoraParameters(target_modules=targets or None))


def test_layers_that_are_there_are_taken() -> None:
    require_layers(make_config(training=training("q_proj", "down_proj")), LAYERS)
    require_layers(make_config(training=training()), ())


def test_one_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(UserError) as refused:
        require_layers(make_config(training=training("q_proj", "lm_head", "query")), LAYERS)

    assert refused.value.reason == "InvalidConfiguration"
    assert "no linear layer named lm_head, query; it has down_proj, k_proj, q_proj" in refused.value.message

"""Adapters merged into the base model's files, with the real PyTorch and PEFT: what is written answers as was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.trainer_process import printed_by

PROBE = Path(__file__).with_name("merge_probe.py")
LAYOUTS = ("llama", "llama_in_16_bit", "shards", "turned", "other_names")
ADAPTERS = ("rslora", "dora", "few", "turned_dora")
ROUNDED = 0.02
"""In nats: what bfloat16 moves a log-probability by."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("merge")
    return dict(printed_by(PROBE, str(folder), folder=folder))


@pytest.mark.parametrize("layout", [*LAYOUTS, *ADAPTERS])
def test_what_is_written_answers_like_base_and_adapter(layout: str, found: dict[str, Any]) -> None:
    one = found[layout]

    assert one["changed"] > 5 * ROUNDED, "the adapter changes what the base says"
    assert one["loaded"] < ROUNDED
    assert one["peft"] == pytest.approx(0, abs=0.002), "as PEFT merges, but for the rounding"
    assert one["types"] == ["torch.bfloat16"]
    assert one["config"]["dtype"] == "bfloat16"
    assert one["config"]["use_cache"] is True


@pytest.mark.parametrize("layout", [*LAYOUTS, *ADAPTERS])
def test_the_trained_model_reads_what_was_written(layout: str, found: dict[str, Any]) -> None:
    assert found[layout]["checked"] == pytest.approx(found[layout]["loaded"], abs=ROUNDED / 2)


def test_a_layer_that_was_not_merged_is_noticed(found: dict[str, Any]) -> None:
    assert found["spoilt"] > 20 * found["llama"]["checked"]


def test_files_are_of_bounded_size(found: dict[str, Any]) -> None:
    files = found["shards"]["files"]

    assert "model.safetensors.index.json" in files
    assert sum(name.endswith(".safetensors") for name in files) > 3


def test_answers_end_where_the_base_ends_and_where_the_training_taught_it(found: dict[str, Any]) -> None:
    assert found["llama"]["generation"]["eos_token_id"] == [0, 4]
    assert found["shards"]["generation"]["eos_token_id"] == [0, 4], "from the configuration alone"


def test_an_adapter_that_the_base_has_no_tensor_for_is_refused(found: dict[str, Any]) -> None:
    assert found["refused"].startswith(
        "ModelInvalid: an adapter of model.layers.1.mlp.down_proj cannot be merged"
    )
    assert "output.formats" in found["refused"]

"""The model card: valid front matter, emissions in grams."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from modelgarden.api.artifact import Evaluation, GgufRecord
from modelgarden.api.emissions import EmissionsRecord
from modelgarden.api.finetunejob import (
    BaseModelRecord,
    EarlyStopping,
    Training,
    Validation,
    ValidationStatus,
)
from modelgarden_train.artifact.model_card import model_card
from modelgarden_train.artifact.results import Results
from tests.unit.builders import make_dataset_report, make_evaluation, make_parent
from tests.unit.train.builders import METERING, make_config, make_record


def make_results() -> Results:
    return Results(
        base_model=BaseModelRecord(source="hf://org/name", revision="abc", digest="a" * 64),
        dataset=make_dataset_report(),
        hyperparameters={"epochs": "3", "learningRate": "0.0002"},
        evaluation=Evaluation(scores=make_evaluation(), rows=()),
        formats={"Merged16Bit": "artifact/merged"},
        gguf=None,
        artifact=Path(),
    )


def front_matter(emissions: EmissionsRecord) -> dict[str, object]:
    card = model_card(make_config(model_source="hf://org/name"), make_results(), emissions)
    loaded = yaml.safe_load(card.split("---\n")[1])
    assert isinstance(loaded, dict)
    return loaded


def test_emissions_are_given_in_grams_with_their_zone() -> None:
    record = make_record(1, joules=3_600_000)
    front = front_matter(record)

    assert record.emissions_milligrams == 742_853
    assert front["co2_eq_emissions"] == {
        "emissions": 742.853,
        "source": "codecarbon 3.3.2, data",
        "training_type": "fine-tuning",
        "geographical_location": "DEU",
    }
    assert front["base_model"] == "org/name"


def test_unknown_emissions_are_left_out_and_not_zero() -> None:
    record = make_record(1, metering=replace(METERING, intensity=None))

    assert "co2_eq_emissions" not in front_matter(record)
    assert "Emissions are unknown" in model_card(make_config(), make_results(), record)


def test_the_card_shows_scores_and_hyperparameters() -> None:
    card = model_card(make_config(), make_results(), make_record(1))

    assert "| held-out score (20 rows) | base | tuned |" in card
    assert "| perplexity | 31.5 | 1.9 (95 %: 1.7 to 2.2) |" in card
    assert "| exact match | 0 (0 of 20) | 0.75 (15 of 20) |" in card
    assert "| learningRate | 0.0002 |" in card
    assert "FineTuneJob team/job" in card


def test_the_card_tells_where_the_chain_of_results_began() -> None:
    parent = make_parent()
    config = make_config(model_source=parent.source, parent=parent)

    card = model_card(config, make_results(), make_record(1))

    assert (
        f"Trained on from bot version 3, made by the FineTuneJob team/first (manifest `{parent.uri}`, SHA-256 "
        f"`{parent.manifest_sha256}`). The first base model of the chain: `hf://org/name`, revision `0123abc`, SHA-256 "
        f"`{parent.root.digest}`."
    ) in card
    assert yaml.safe_load(card.split("---\n")[1])["base_model"] == "org/name"


def test_a_chain_that_began_outside_of_the_hub_has_no_base_model_there() -> None:
    parent = make_parent(root=BaseModelRecord(source="s3://models/tiny", digest="a" * 64))
    config = make_config(model_source=parent.source, parent=parent)

    card = model_card(config, make_results(), make_record(1))

    assert "base_model" not in yaml.safe_load(card.split("---\n")[1])
    assert "`s3://models/tiny`, revision `none`" in card


@pytest.mark.parametrize(
    ("stopped", "want"),
    [
        (
            True,
            "The training stopped early at step 40 of 100; the weights are those of step 20, whose validation",
        ),
        (False, "The training had 100 steps; the weights are those of step 20, whose validation"),
    ],
)
def test_the_card_says_which_weights_these_are(stopped: bool, want: str) -> None:
    found = ValidationStatus(step=40, loss="1.5", best_step=20, best_loss="1.25", stopped_early=stopped)
    results = replace(make_results(), validation=found, hyperparameters={"steps": "100"})
    seen = Training(validation=Validation(every_steps=20))
    stops = seen.model_copy(update={"early_stopping": EarlyStopping()})

    assert f"{want} loss was the lowest, 1.25." in model_card(
        make_config(training=stops), results, make_record(1)
    )
    assert "the weights are those" not in model_card(make_config(training=seen), results, make_record(1))


def test_the_card_says_how_the_gguf_file_is_used_and_how_far_it_is_off() -> None:
    made = GgufRecord(
        file="artifact/gguf/bot-Q4_K_M.gguf",
        quantization="Q4_K_M",
        rows=16,
        mean_difference="0.04321",
        largest_difference="0.5",
        rows_of_same_tokens=15,
    )

    card = model_card(make_config(), replace(make_results(), gguf=made), make_record(1))

    assert "llama-server -m artifact/gguf/bot-Q4_K_M.gguf\n" in card
    assert "FROM ./artifact/gguf/bot-Q4_K_M.gguf" in card
    assert "0.04321 nats on average from the 16-bit model (allowed: 0.5)" in card
    assert "15 of the 16 rows" in card
    assert "GGUF" not in model_card(make_config(), make_results(), make_record(1))

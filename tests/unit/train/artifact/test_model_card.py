"""The model card: metadata as the hub reads it, emissions in grams, and nothing of the garden's own on a hub."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from modelgarden.api.artifact import GgufRecord, Manifest, RunIdentity, SourceRecord
from modelgarden.api.finetunejob import BaseModelRecord, ValidationStatus
from modelgarden_train.artifact.model_card import Publication, model_card
from modelgarden_train.hub.licence import Licence, read_licence
from tests.unit.builders import DIGEST, make_dataset_report, make_manifest, make_parent
from tests.unit.train.builders import METERING, make_record

PUBLISHED = Publication(
    repository="org/bot",
    format="Merged16Bit",
    version=4,
    manifest_sha256=DIGEST,
    licence=Licence("other", "llama3.2", "https://example.org/LICENSE"),
)
GGUF = GgufRecord(
    file="artifact/gguf/bot-Q4_K_M.gguf",
    quantization="Q4_K_M",
    rows=16,
    mean_difference="0.04321",
    largest_difference="0.5",
    rows_of_same_tokens=15,
)


def made(**fields: Any) -> Manifest:
    known: dict[str, Any] = {
        "run": RunIdentity(namespace="team", name="job", uid="uid"),
        "base_model": BaseModelRecord(source="hf://org/name", revision="abc", digest="a" * 64),
        "hyperparameters": {"epochs": "3", "learningRate": "0.0002", "objective": "DPO"},
        "emissions": make_record(1),
    }
    return make_manifest(**known | fields)


def metadata(manifest: Manifest, published: Publication | None = None) -> dict[str, Any]:
    loaded = yaml.safe_load(model_card(manifest, published).split("---\n")[1])
    assert isinstance(loaded, dict)
    return loaded


def sources(*uris: str) -> Any:
    records = tuple(SourceRecord(uri=uri, files=1, digest=DIGEST) for uri in uris)
    return make_dataset_report().model_copy(update={"sources": records, "source": ", ".join(uris)})


def test_emissions_are_given_in_grams_with_their_zone() -> None:
    record = make_record(1, joules=3_600_000)
    found = metadata(made(emissions=record))

    assert record.emissions_milligrams == 742_853
    assert found["co2_eq_emissions"] == {
        "emissions": 742.853,
        "source": "codecarbon 3.3.2, data",
        "training_type": "fine-tuning",
        "geographical_location": "DEU",
        "hardware_used": "1 GPU",
    }


def test_unknown_emissions_are_left_out_and_not_zero() -> None:
    manifest = made(emissions=make_record(1, metering=replace(METERING, intensity=None, devices=())))

    assert "co2_eq_emissions" not in metadata(manifest)
    assert "Emissions are unknown" in model_card(manifest)


def test_the_card_shows_scores_and_hyperparameters() -> None:
    card = model_card(made())

    assert "| held-out score (20 rows) | base | tuned |" in card
    assert "| perplexity | 31.5 | 1.9 (95 %: 1.7 to 2.2) |" in card
    assert "| exact match | 0 (0 of 20) | 0.75 (15 of 20) |" in card
    assert "| learningRate | 0.0002 |" in card
    assert "FineTuneJob team/job" in card
    assert "scored on 20 rows that were held out" in card


def test_the_scores_are_results_that_the_hub_lists() -> None:
    found = metadata(made(dataset=sources("hf://org/rows")))

    assert found["metrics"] == ["perplexity", "exact_match"]
    (index,) = found["model-index"]
    assert index["name"] == "bot"
    (results,) = index["results"]
    assert results["task"]["type"] == "text-generation"
    assert results["dataset"] == {"type": "org/rows", "name": "held-out rows of org/rows"}
    assert [(one["type"], one["value"]) for one in results["metrics"]] == [
        ("perplexity", 1.9),
        ("exact_match", 0.75),
    ]
    # Of a job without held-out rows there is nothing to list.
    nothing = metadata(made(evaluation=made().evaluation.model_copy(update={"metrics": ()})))
    assert not {"metrics", "model-index"} & set(nothing)


@pytest.mark.parametrize(
    ("form", "relation", "library"),
    [
        ("Adapter", "adapter", "peft"),
        ("Merged16Bit", "finetune", "transformers"),
        ("GGUF", "quantized", "gguf"),
    ],
)
def test_what_it_is_to_its_base_model_follows_from_the_format(form: Any, relation: str, library: str) -> None:
    found = metadata(made(gguf=GGUF), replace(PUBLISHED, format=form))

    assert found["base_model"] == "org/name"
    assert found["base_model_relation"] == relation
    assert found["library_name"] == library
    assert found["pipeline_tag"] == "text-generation"
    assert {"lora", "dpo"} <= set(found["tags"])
    assert found["license"] == "other"
    assert found["license_name"] == "llama3.2"


def test_only_datasets_of_the_hub_are_named_there() -> None:
    manifest = made(dataset=sources("hf://org/rows", "s3://secret-bucket/rows.jsonl", "hf://org/rows"))

    assert metadata(manifest)["datasets"] == ["org/rows"]
    assert "`hf://org/rows` and rows of its owner" in model_card(manifest, PUBLISHED)
    assert "datasets" not in metadata(made())


def test_a_card_on_the_hub_names_nothing_of_where_the_gardens_data_lies() -> None:
    parent = make_parent(root=BaseModelRecord(source="s3://models/tiny", digest="a" * 64))
    base = BaseModelRecord(source=parent.source, digest="b" * 64)
    manifest = made(parent=parent, base_model=base, gguf=GGUF)

    for form in ("Adapter", "Merged16Bit", "GGUF"):
        card = model_card(manifest, replace(PUBLISHED, format=form))
        assert "s3://" not in card
        assert "team" not in card
        assert "artifact/" not in card
        assert f"Version 4, made by Model Garden (run uid, manifest SHA-256 `{DIGEST}`)." in card
        assert "[llama3.2](https://example.org/LICENSE)" in card
    assert "Trained on from bot version 3" in model_card(manifest, PUBLISHED)


def test_the_card_tells_where_the_chain_of_results_began() -> None:
    parent = make_parent()
    manifest = made(parent=parent, base_model=BaseModelRecord(source=parent.source, digest="b" * 64))

    assert (
        f"Trained on from bot version 3, made by the FineTuneJob team/first (manifest `{parent.uri}`, SHA-256 "
        f"`{parent.manifest_sha256}`). The first base model of the chain: `hf://org/name`, revision `0123abc`, SHA-256 "
        f"`{parent.root.digest}`."
    ) in model_card(manifest)
    assert metadata(manifest)["base_model"] == "org/name"


def test_a_chain_that_began_outside_of_the_hub_has_no_base_model_there() -> None:
    parent = make_parent(root=BaseModelRecord(source="s3://models/tiny", digest="a" * 64))
    manifest = made(parent=parent)

    assert not {"base_model", "base_model_relation"} & set(metadata(manifest))
    assert "`s3://models/tiny`, revision `none`" in model_card(manifest)


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
    seen = {"steps": "100"}
    stops = seen | {"earlyStoppingPatience": "3"}

    assert f"{want} loss was the lowest, 1.25." in model_card(made(validation=found, hyperparameters=stops))
    assert "the weights are those" not in model_card(made(validation=found, hyperparameters=seen))


def test_the_card_says_how_the_gguf_file_is_used_and_how_far_it_is_off() -> None:
    card = model_card(made(gguf=GGUF))

    assert "llama-server -m artifact/gguf/bot-Q4_K_M.gguf\n" in card
    assert "FROM ./artifact/gguf/bot-Q4_K_M.gguf" in card
    assert "0.04321 nats on average from the 16-bit model (allowed: 0.5)" in card
    assert "15 of the 16 rows" in card
    assert "GGUF" not in model_card(made())
    # In a repository of its own it lies at the top.
    assert "llama-server -m bot-Q4_K_M.gguf\n" in model_card(
        made(gguf=GGUF), replace(PUBLISHED, format="GGUF")
    )
    assert "llama-server" not in model_card(made(gguf=GGUF), PUBLISHED)


@pytest.mark.parametrize(
    ("card", "want"),
    [
        ({"license": "apache-2.0"}, Licence("apache-2.0")),
        (
            {"license": "other", "license_name": "own", "license_link": "LICENSE"},
            Licence("other", "own", "LICENSE"),
        ),
        ({"license": ["a", "b"]}, None),
        ({}, None),
    ],
    ids=["an identifier", "a name of its own", "no text", "none"],
)
def test_a_licence_is_read_from_the_base_models_card(card: dict[str, Any], want: Licence | None) -> None:
    assert read_licence(card) == want


def test_an_unknown_licence_is_said_to_be_unknown() -> None:
    card = model_card(made(), replace(PUBLISHED, licence=None))

    assert "it is not known here" in card
    assert "license" not in metadata(made(), replace(PUBLISHED, licence=None))

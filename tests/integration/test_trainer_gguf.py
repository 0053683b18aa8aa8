"""The export as GGUF, with llama.cpp's own converter, quantiser and engine."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from modelgarden.api.artifact import Manifest
from modelgarden_train.artifact.gguf.export import LARGEST_DIFFERENCE
from tests.integration.trainer_process import (
    TrainerProcess,
    llama_cpp,
    make_config,
    make_rows,
    printed_by,
    tiny_model,
    trainer_python,
    write_rows,
)

PROBE = Path(__file__).with_name("gguf_probe.py")


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    return {"MODELGARDEN_LLAMA_CPP": str(llama_cpp())}


@pytest.fixture(scope="module")
def found(variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("gguf")
    return printed_by(PROBE, str(folder), folder=folder, variables=variables)


@pytest.mark.parametrize("quantization", ["F16", "Q4_K_M"])
def test_a_file_answers_like_the_model_that_it_was_made_of(quantization: str, found: dict[str, Any]) -> None:
    made = found["made"][quantization]

    assert made["file"] == f"artifact/gguf/count-{quantization}.gguf"
    assert (made["quantization"], made["rows"]) == (quantization, 2)
    assert 0 < float(made["meanDifference"]) <= float(made["largestDifference"])
    assert made["rowsOfSameTokens"] == 2, "special tokens, spaces, and bytes that no piece stands for"


@pytest.mark.parametrize("quantization", ["Q5_K_M", "Q8_0"])
def test_other_types_of_weights_are_as_near_as_they_should_be(
    quantization: Any, found: dict[str, Any]
) -> None:
    assert 0 < found["others"][quantization]["difference"] <= LARGEST_DIFFERENCE[quantization]


def test_fewer_bits_take_less_room(found: dict[str, Any]) -> None:
    sizes = [
        found["bytes"]["F16"],
        found["others"]["Q8_0"]["bytes"],
        found["others"]["Q5_K_M"]["bytes"],
        found["bytes"]["Q4_K_M"],
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.5 * sizes[0]


def test_a_file_that_does_not_answer_alike_is_not_registered(found: dict[str, Any]) -> None:
    assert found["spoilt"].startswith("ArtifactInvalid: the GGUF file (Q4_K_M) is not the trained model")


def test_llama_cpp_answers_with_the_template_of_the_file_as_transformers_do(found: dict[str, Any]) -> None:
    assert found["asked"]["name"] == "count"
    assert found["asked"]["template"] == found["template"]
    assert found["asked"]["answer"].strip() == found["generated"].strip() != ""


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("alone", "BPE pre-tokenizer was not recognized"),
        ("unknown", "Architecture 'GPTNeoForCausalLM' not supported"),
    ],
    ids=["a tokenizer that somebody trained alone", "an architecture"],
)
def test_what_the_converter_does_not_know_is_told_by_prepare(
    name: str, want: str, found: dict[str, Any]
) -> None:
    assert found["refused"]["base"] == ""
    said = found["refused"][name]
    assert said.startswith(
        "InvalidConfiguration: the base model cannot be exported as GGUF: llama.cpp's converter"
    )
    assert want in said
    assert said.endswith(
        "Create a new FineTuneJob without GGUF in output.formats, or with another base model"
    )


def test_a_run_leaves_the_file_its_numbers_and_how_to_use_it(
    variables: dict[str, str], tmp_path: Path
) -> None:
    dataset, run = tmp_path / "rows.jsonl", tmp_path / "run"
    write_rows(dataset, make_rows(60))
    model = tiny_model("--sentencepiece", "--hidden", "256")
    config = make_config(run_uri=str(run), model=str(model), dataset=dataset.as_uri(), formats=["GGUF"])
    process = TrainerProcess(
        trainer_python(), tmp_path / "process", config, attempt="attempt-1", variables=variables
    )

    prepared = process.run("prepare")
    assert prepared.exit_code == 0, prepared.log
    trained = process.run("train")
    assert trained.exit_code == 0, trained.log

    manifest = Manifest.model_validate_json((run / "manifest.json").read_bytes())
    made = manifest.gguf
    assert made is not None
    assert manifest.formats == {"GGUF": "artifact/gguf"}
    entries = {entry.path: entry for entry in manifest.files}
    assert hashlib.sha256((run / made.file).read_bytes()).hexdigest() == entries[made.file].sha256
    assert not [path for path in entries if path.startswith("artifact/merged")], "nobody asked for the merge"
    assert made.rows == made.rows_of_same_tokens == 7
    assert f"llama-server -m {made.file}" in (run / "README.md").read_text()
    assert "Checked the merged model" in trained.log

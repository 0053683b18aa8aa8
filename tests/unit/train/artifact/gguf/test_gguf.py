"""What the export as GGUF decides by itself; what llama.cpp does is tested with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from modelgarden.api.finetunejob import GgufQuantization
from modelgarden_train.artifact.gguf.conversion import stage
from modelgarden_train.artifact.gguf.export import LARGEST_DIFFERENCE
from modelgarden_train.artifact.gguf.requests import REQUESTS, CheckBase, Convert, Quantize, RowToScore, Score


def make_files(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content)
    return folder


def test_what_is_converted_is_the_merged_model_with_what_only_the_base_has(tmp_path: Path) -> None:
    base = make_files(
        tmp_path / "base", config_json="base", tokenizer_model="pieces", model_safetensors="base"
    )
    merged = make_files(tmp_path / "merged", config_json="merged", model_safetensors="merged")

    stage(tmp_path / "staged", model=merged, base=base)

    found = {path.name: path.read_text() for path in (tmp_path / "staged").iterdir()}
    assert found == {"config.json": "merged", "model.safetensors": "merged", "tokenizer.model": "pieces"}


def test_added_tokens_are_told_where_the_converter_looks_for_them(tmp_path: Path) -> None:
    added = {"id": 7, "content": "<|end|>", "special": True}
    merged = make_files(
        tmp_path / "merged",
        **{"tokenizer_json": json.dumps({"added_tokens": [added]}), "tokenizer.config_json": "{}"},
    )
    (merged / "tokenizer.config.json").rename(merged / "tokenizer_config.json")

    stage(tmp_path / "staged", model=merged, base=tmp_path)

    staged = json.loads((tmp_path / "staged" / "tokenizer_config.json").read_text())
    assert staged["added_tokens_decoder"] == {"7": {"content": "<|end|>", "special": True}}
    assert (merged / "tokenizer_config.json").read_text() == "{}", "what is exported stays as it is"


def test_weights_of_the_base_are_never_converted(tmp_path: Path) -> None:
    base = make_files(tmp_path / "base", config_json="base", model_safetensors="base")
    tokenizer = make_files(tmp_path / "tokenizer", tokenizer_json="{}")

    stage(tmp_path / "staged", model=tokenizer, base=base)

    assert {path.name for path in (tmp_path / "staged").iterdir()} == {"config.json", "tokenizer.json"}


def test_fewer_bits_may_differ_more() -> None:
    by_bits: tuple[GgufQuantization, ...] = ("F16", "Q8_0", "Q5_K_M", "Q4_K_M")

    assert set(by_bits) == set(get_args(GgufQuantization))
    allowed = [LARGEST_DIFFERENCE[name] for name in by_bits]
    assert allowed == sorted(allowed)


@pytest.mark.parametrize(
    "request_",
    [
        CheckBase(model=Path("m"), chat_template=None, scratch=Path("s")),
        Convert(model=Path("m"), file=Path("f"), name="bot", as_f16=True),
        Quantize(source=Path("s"), file=Path("f"), quantization="Q8_0", threads=2),
        Score(
            file=Path("f"), rows=(RowToScore(ids=(1, 2), scored_from=1, text="é", text_ids=(3,)),), threads=1
        ),
    ],
    ids=lambda one: one.kind,
)
def test_a_request_arrives_as_it_was_sent(request_: CheckBase | Convert | Quantize | Score) -> None:
    assert REQUESTS.validate_json(request_.model_dump_json()) == request_

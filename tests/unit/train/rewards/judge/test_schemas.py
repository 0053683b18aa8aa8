"""Type JSONSchema."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from modelgarden_train.rewards.judge.errors import RewardError
from modelgarden_train.rewards.judge.schemas import SchemaJudge
from tests.unit.train.rewards.judge.completions import make_completion

PERSON = {
    "type": "object",
    "properties": {"name": {"$ref": "#/$defs/word"}, "age": {"type": "integer"}},
    "required": ["name"],
    "$defs": {"word": {"type": "string", "minLength": 1}},
}


def worth(schema: Any, text: str, *, seconds: float = 5.0) -> float:
    return SchemaJudge(json.dumps(schema), seconds=seconds)([make_completion(text)])[0]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ('{"name": "Ada", "age": 36}', 1.0),
        ('```json\n{"name": "Ada"}\n```', 1.0),
        ('{"name": ""}', 0.0),
        ("{}", 0.0),
        ("", 0.0),
        ("Ada", 0.0),
        ('{"name": "Ada", "age": NaN}', 0.0),
        ('{"name": "\ud800"}', 1.0),
        ('Here: {"name": "Ada"}', 0.0),
    ],
)
def test_a_completion_is_worth_1_where_it_is_json_that_fits(text: str, want: float) -> None:
    assert worth(PERSON, text) == want


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "9" * 10_000, "[" + "9" * 4000 + "]", '{"a":' * 50_000 + "1" + "}" * 50_000]
)
def test_json_that_no_parser_likes_is_worth_0(text: str) -> None:
    assert worth({"type": "object", "multipleOf": 0.5}, text) == 0.0


def test_a_comparison_that_would_last_for_ever_is_worth_0() -> None:
    began = time.monotonic()

    assert worth({"pattern": "^(a|aa)+$"}, json.dumps("a" * 200 + "b"), seconds=0.2) == 0.0
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("document", "want"),
    [
        ("{", "the schema is no JSON"),
        ('{"minimum": NaN}', "NaN is no JSON"),
        ("[]", r"\$ of the schema is wrong"),
        ('{"type": "text"}', r"\$.type of the schema is wrong"),
        ('{"pattern": "("}', r"\$.pattern of the schema is wrong"),
        ('{"$ref": "https://example.com/person.json"}', "refers to https://example.com/person.json"),
        ('{"properties": {"a": {"$ref": "#/$defs/b"}}}', "refers to #/\\$defs/b"),
        ('{"allOf": [{"$ref": "other.json#/a"}]}', "refers to other.json#/a"),
    ],
)
def test_what_is_no_schema_or_is_elsewhere_is_told(document: str, want: str) -> None:
    with pytest.raises(RewardError, match=want):
        SchemaJudge(document, seconds=1.0)


def test_a_schema_may_refer_to_itself_to_its_parts_and_to_the_draft() -> None:
    tree = {
        "$id": "https://example.com/tree",
        "type": "object",
        "properties": {
            "left": {"$ref": "#"},
            "right": {"$ref": "https://example.com/leaf"},
            "schema": {"$ref": "https://json-schema.org/draft/2020-12/schema"},
        },
        "$defs": {"leaf": {"$id": "leaf", "const": 1}},
    }

    assert worth(tree, '{"left": {"right": 1, "schema": {"type": "string"}}}') == 1.0
    assert worth(tree, '{"left": {"right": 2}}') == 0.0
    assert worth(tree, '{"left": {"schema": {"type": "text"}}}') == 0.0

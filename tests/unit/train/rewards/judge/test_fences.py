"""Blocks of Markdown around what is read."""

from __future__ import annotations

import pytest

from modelgarden_train.rewards.judge.fences import unfenced


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param('```json\n{"a": 1}\n```', '{"a": 1}', id="of the language"),
        pytest.param("\n```JSON \n1\n2\n```\n", "1\n2", id="in capitals, with space around"),
        pytest.param("```\n1\n```", "1", id="of no language"),
        pytest.param("```\n```", "", id="empty"),
    ],
)
def test_a_fence_around_the_whole_is_taken_off(text: str, want: str) -> None:
    assert unfenced(text, "json") == want


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "",
        "```json",
        "```python\n1\n```",
        "Here it is:\n```json\n1\n```",
        "```json\n1\n```\nand\n```json\n2\n```",
        "```json\n1",
    ],
)
def test_any_other_text_is_left_as_it_is(text: str) -> None:
    assert unfenced(text, "json") == text

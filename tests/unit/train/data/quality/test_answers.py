"""Answers that stop before their end."""

from __future__ import annotations

import pytest

from modelgarden_train.data.quality.answers import is_cut_off


@pytest.mark.parametrize(
    "answer",
    [
        "The capital is Paris. It lies on the river",
        "Python has lists. They are made with brackets, and",
        "Here is the first reason that I can think of,",
        "Use this:\n```python\nprint(1)",
        "巴黎是法国的首都。它位于塞纳",
        "First paragraph, which is whole.\n\nThe second one is whole as well. The third is n",
        "The function takes three arguments. The first of them (",
    ],
)
def test_an_answer_that_stops_in_the_middle_is_cut_off(answer: str) -> None:
    assert is_cut_off(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "Paris",
        "The capital of France is Paris",
        "SELECT name FROM users WHERE id = 1;",
        "The capital is Paris. It lies on the Seine.",
        'He said: "It is true."',
        "巴黎是法国的首都。它位于塞纳河。",
        "Use this:\n```python\nprint(1)\n```",
        "- apples\n- pears. They are sweet\n",
        "1. Wash. Then dry",
        "See the docs. They are at https://example.com/a",
        "42",
        "",
        "Dear Anna,",
        "Version 1.2.3",
        "Is it so?  Yes!",
    ],
)
def test_a_whole_answer_is_not(answer: str) -> None:
    assert not is_cut_off(answer)

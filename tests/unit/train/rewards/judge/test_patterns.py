"""Type Regex."""

from __future__ import annotations

import time

import pytest

from modelgarden_train.rewards.judge.errors import RewardError
from modelgarden_train.rewards.judge.patterns import PatternJudge
from tests.unit.train.rewards.judge.completions import make_completion


def worth(pattern: str, text: str) -> float:
    return PatternJudge(pattern, seconds=0.2)([make_completion(text)])[0]


@pytest.mark.parametrize(
    ("pattern", "text", "want"),
    [
        (r"#### \d+", "so it is\n#### 42", 1.0),
        (r"\A<think>.*</think>", "<think>a\nb</think>", 0.0),
        (r"(?s)\A<think>.*</think>", "<think>a\nb</think>", 1.0),
        (r"a", "", 0.0),
        (r"\A\Z", "", 1.0),
        (r"\w", "\ud800", 0.0),
    ],
)
def test_a_completion_is_searched_as_python_does(pattern: str, text: str, want: float) -> None:
    assert worth(pattern, text) == want


def test_a_search_that_would_last_for_ever_finds_nothing() -> None:
    began = time.monotonic()

    assert worth(r"(a|aa)+$", "a" * 50_000 + "b") == 0.0
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("pattern", ["(", "[a", "*", r"(?P<a>x)(?P<a", r"\1"])
def test_what_is_no_pattern_is_told(pattern: str) -> None:
    with pytest.raises(RewardError, match="the pattern is no regular expression: "):
        PatternJudge(pattern, seconds=1.0)

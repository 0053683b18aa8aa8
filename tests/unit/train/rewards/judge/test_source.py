"""Type Python: what is wrong with a file is told with its line."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from modelgarden_train.rewards.judge.errors import RewardError
from modelgarden_train.rewards.judge.source import FunctionJudge
from tests.unit.train.rewards.judge.completions import make_completion

NAME = "s3://bucket/reward.py"
TWO = [make_completion("a", answer="a"), make_completion("bc", answer="x")]


def judge(path: Path, text: str, *, function: str = "reward") -> FunctionJudge:
    file = path / "local.py"
    file.write_text(dedent(text))
    return FunctionJudge(file, name=NAME, function=function)


def returning(path: Path, value: str, *, before: str = "") -> FunctionJudge:
    return judge(path, f"{before}\ndef reward(prompts, completions, **kwargs):\n    return {value}\n")


def test_it_is_called_as_trl_calls_its_own(tmp_path: Path) -> None:
    called = judge(
        tmp_path,
        """
        def worth(completions, answer, **kwargs):
            assert set(kwargs) == {"prompts", "completion_ids"}, kwargs
            assert kwargs == {"prompts": ["What is it?"] * 2, "completion_ids": [[97], [98, 99]]}
            return [text == right for text, right in zip(completions, answer)]
        """,
        function="worth",
    )

    assert called(TWO) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("[1, 2.5]", [1.0, 2.5]),
        ("(None, -3)", [None, -3.0]),
        ("(float(len(c)) for c in completions)", [1.0, 2.0]),
        ("[Fraction(1, 2), Decimal(2)]", [0.5, 2.0]),
    ],
)
def test_numbers_of_all_kinds_are_taken(tmp_path: Path, value: str, want: list[float | None]) -> None:
    imports = "from decimal import Decimal\nfrom fractions import Fraction"

    assert returning(tmp_path, value, before=imports)(TWO) == want


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("[1]", "returned 1 values for 2 completions"),
        ("[1, 2, 3]", "returned 3 values for 2 completions"),
        ("None", "returned None, which is no list"),
        ("1.0", "returned 1.0, which is no list"),
        ("[1, 'good']", "returned 'good' for completion 1, which is no number"),
        ("'ab'", "returned 'a' for completion 0, which is no number"),
        ("[1, float('nan')]", "returned nan for completion 1, which is no finite number"),
        ("[float('inf'), 1]", "returned inf for completion 0, which is no finite number"),
        ("[10 ** 400, 1]", "which is no number"),
        ("[[1], [2]]", "which is no number"),
    ],
)
def test_what_is_not_as_many_numbers_is_told(tmp_path: Path, value: str, want: str) -> None:
    with pytest.raises(RewardError, match=want):
        returning(tmp_path, value)(TWO)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("def reward(:\n", r"line 1: SyntaxError: invalid syntax"),
        ("\n\nimport no_such_package\n", "line 3: ModuleNotFoundError: No module named 'no_such_package'"),
        ("import sys\nsys.exit('bye')\n", "line 2: SystemExit: bye"),
        ("import re\nre.compile('(')\n", "line 2: error: missing"),
        ("def other(**kwargs): ...\n", "the file has no function reward"),
        ("reward = 3\n", "the file has no function reward"),
        (
            "def reward(prompts): ...\n",
            r"write reward\(prompts, completions, completion_ids, answer, \*\*kwargs\)",
        ),
        ("def reward(completions, image, **kwargs): ...\n", "does not take what it is called with"),
        ("x = '\0'\n", "null bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_told(tmp_path: Path, text: str, want: str) -> None:
    with pytest.raises(RewardError, match=want):
        judge(tmp_path, text)


def test_an_exception_is_told_with_the_last_line_of_the_file_that_was_in_it(tmp_path: Path) -> None:
    called = judge(
        tmp_path,
        """\
        import json

        def reward(completions, **kwargs):
            return [parsed(text) for text in completions]

        def parsed(text):
            return json.loads(text)["worth"]
        """,
    )

    with pytest.raises(
        RewardError, match=r"^s3://bucket/reward.py, line 7: JSONDecodeError: Expecting value"
    ):
        called(TWO)


def test_an_exception_that_cannot_be_told_is_named(tmp_path: Path) -> None:
    called = judge(
        tmp_path,
        """\
        class Mute(Exception):
            def __str__(self):
                raise ValueError

        def reward(completions, **kwargs):
            raise Mute
        """,
    )

    with pytest.raises(RewardError, match=r"^s3://bucket/reward.py, line 6: Mute$"):
        called(TWO)

"""What mutmut prints becomes a verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from hack import mutants

RESULTS = """\
    modelgarden.serving.rollout.x_aim__mutmut_1: killed
    modelgarden.serving.rollout.x_aim__mutmut_2: survived
    modelgarden.serving.rollout.xǁRevisionǁstarved__mutmut_1: timeout
    modelgarden.finetune.plan.x_plan__mutmut_1: no tests
    modelgarden.finetune.plan.x_plan__mutmut_2: not checked
"""


def test_what_was_not_run_does_not_count() -> None:
    statuses = mutants.parsed(RESULTS)

    assert sorted(statuses.values()) == ["killed", "no tests", "survived", "timeout"]


def test_coroutines_do_not_count(tmp_path: Path) -> None:
    package = tmp_path / "a"
    package.mkdir()
    package.joinpath("b.py").write_text(
        "async def ask(): ...\ndef plan(): ...\nclass Look:\n    async def again(self): ...\n    def once(self): ...\n"
    )
    results = "".join(
        f"    a.b.{name}__mutmut_1: survived\n" for name in ("x_ask", "x_plan", "xǁLookǁagain", "xǁLookǁonce")
    )

    assert list(mutants.parsed(results, without=mutants.coroutines(tmp_path))) == [
        "a.b.x_plan__mutmut_1",
        "a.b.xǁLookǁonce__mutmut_1",
    ]


def test_killed_and_survived_are_counted_by_module() -> None:
    assert mutants.table(mutants.parsed(RESULTS)).splitlines() == [
        "modelgarden.finetune.plan                              0 killed     1 survived    0.0 %",
        "modelgarden.serving.rollout                            2 killed     1 survived   66.7 %",
        "all                                                    2 killed     2 survived   50.0 %",
    ]


@pytest.mark.parametrize(("killed", "want_code"), [(9, 0), (8, 1)])
def test_more_than_a_tenth_of_survivors_is_a_failure(
    killed: int, want_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mutmut's place is taken by a program that has killed so many of ten."""
    program = tmp_path / "mutmut.py"
    program.write_text(
        "import sys\n"
        "if sys.argv[1] == 'show': print(f'# {sys.argv[2]}')\n"
        "if sys.argv[1] == 'results':\n"
        "    for n in range(10): print(f'    a.x_b__mutmut_{n}: ' + ('killed' if n < "
        + str(killed)
        + " else 'survived'))\n"
    )
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    monkeypatch.setattr(mutants, "STAGE", tmp_path / "stage")
    monkeypatch.setattr(mutants, "SURVIVORS", tmp_path / "stage" / "survivors.diff")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name in ("operator", "tests"):
        (tmp_path / name).mkdir()
    (tmp_path / "pyproject.toml").touch()

    assert mutants.main([]) == want_code

    assert mutants.SURVIVORS.read_text().splitlines()[-1] == "# a.x_b__mutmut_9"

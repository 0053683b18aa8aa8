"""Change the decisions in one place at a time and count which changes the unit tests notice: `make mutants`.

What is changed, and by which tests it should be noticed, is said in pyproject.toml ([tool.mutmut]). mutmut finds sources
in src/ only, so it works on a copy of the checkout that is laid out so. It changes bodies of functions and methods, but
none with a decorator other than staticmethod and classmethod. Coroutines do not count: they ask S3, pods and the API
server, which is tried against real ones.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
STAGE: Final = ROOT / ".mutants"
SURVIVORS: Final = STAGE / "survivors.diff"
LEAST_KILLED_PERCENT: Final = 90

KILLED: Final = frozenset({"killed", "timeout", "segfault"})
"""A change that makes a test hang or the interpreter die is noticed as well."""
_MODULE_END: Final = (".x_", ".xǁ")
"""What mutmut puts between the name of a module and that of a mutant of it."""


def main(arguments: list[str]) -> int:
    """Run all mutants, or those whose names match the patterns that are given; return 1 where too many survive."""
    stage()
    done = subprocess.run([*_mutmut("run", "--max-children", "1"), *arguments], cwd=STAGE)
    if done.returncode != 0:
        return done.returncode
    results = subprocess.check_output(_mutmut("results", "--all", "true"), cwd=STAGE, text=True)
    statuses = parsed(results, without=coroutines(STAGE / "src"))
    survivors = sorted(name for name, status in statuses.items() if status not in KILLED)
    SURVIVORS.write_text("\n".join(_diff(name) for name in survivors))
    print(table(statuses))
    print(f"The survivors' changes are in {SURVIVORS.relative_to(ROOT)}.")
    return 0 if killed_percent(statuses.values()) >= LEAST_KILLED_PERCENT else 1


def stage() -> None:
    """Lay the checkout out anew as mutmut wants it."""
    shutil.rmtree(STAGE, ignore_errors=True)
    unneeded = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "operator", STAGE / "src", ignore=unneeded)
    shutil.copytree(ROOT / "tests", STAGE / "tests", ignore=unneeded)
    shutil.copy(ROOT / "pyproject.toml", STAGE)


def parsed(results: str, *, without: Set[str] = frozenset()) -> dict[str, str]:
    """Return the status of every mutant that was run, by its name, of what `mutmut results` prints.

    `without` are the functions that do not count, by the names that mutmut has for them.
    """
    pairs = (line.strip().rsplit(": ", 1) for line in results.splitlines() if ": " in line)
    return {
        name: status
        for name, status in pairs
        if status != "not checked" and name.partition("__mutmut_")[0] not in without
    }


def coroutines(source: Path) -> frozenset[str]:
    """Return the coroutines of all modules in a folder, by the names that mutmut has for functions."""
    return frozenset(name for file in source.rglob("*.py") for name in _coroutines(file, source))


def _coroutines(file: Path, source: Path) -> Iterator[str]:
    module = ".".join(file.relative_to(source).with_suffix("").parts)
    tree = ast.parse(file.read_text())
    yield from (f"{module}.x_{one.name}" for one in tree.body if isinstance(one, ast.AsyncFunctionDef))
    for owner in (one for one in tree.body if isinstance(one, ast.ClassDef)):
        methods = (one for one in owner.body if isinstance(one, ast.AsyncFunctionDef))
        yield from (f"{module}.xǁ{owner.name}ǁ{one.name}" for one in methods)


def killed_percent(statuses: Iterable[str]) -> float:
    """Return the share of mutants that a test noticed."""
    noticed = [status in KILLED for status in statuses]
    return 100 * sum(noticed) / len(noticed) if noticed else 100.0


def table(statuses: Mapping[str, str]) -> str:
    """Return killed and survived by module as text."""
    modules: dict[str, list[str]] = defaultdict(list)
    for name, status in statuses.items():
        modules[_module_of(name)].append(status)
    lines = [_line(module, found) for module, found in sorted(modules.items())]
    return "\n".join([*lines, _line("all", list(statuses.values()))])


def _line(name: str, statuses: list[str]) -> str:
    counted = Counter(status in KILLED for status in statuses)
    return f"{name:<50} {counted[True]:>5} killed {counted[False]:>5} survived {killed_percent(statuses):>6.1f} %"


def _module_of(mutant: str) -> str:
    return min((mutant.partition(end)[0] for end in _MODULE_END), key=len)


def _diff(mutant: str) -> str:
    return subprocess.check_output(_mutmut("show", mutant), cwd=STAGE, text=True)


def _mutmut(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mutmut", *arguments]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

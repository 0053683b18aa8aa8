"""Lines are read in bounded memory, whatever the file holds."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from modelgarden_train.data.readers.lines import whole_lines
from modelgarden_train.data.values import LONGEST_ROW_BYTES


def lengths(path: Path) -> list[tuple[int, int | None]]:
    with path.open("rb") as stream:
        return [
            (number, None if line is None else len(line))
            for number, line in whole_lines(stream)
            if line is None or line.strip()
        ]


@pytest.mark.parametrize(
    ("content", "want"),
    [
        pytest.param(b"a\n\nbc\r\n   \nd", [(1, 2), (3, 4), (5, 1)], id="blank lines are counted, not read"),
        pytest.param(
            b"x" * LONGEST_ROW_BYTES + b"\ny", [(1, LONGEST_ROW_BYTES + 1), (2, 1)], id="as long as may be"
        ),
        pytest.param(b"x" * (LONGEST_ROW_BYTES + 1) + b"\ny\n", [(1, None), (2, 2)], id="a byte too long"),
        pytest.param(
            b"y\n" + b"x" * (3 * LONGEST_ROW_BYTES), [(1, 2), (2, None)], id="the last one, too long"
        ),
        pytest.param(
            b"x" * LONGEST_ROW_BYTES, [(1, LONGEST_ROW_BYTES)], id="the last one, as long as may be"
        ),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_lines_keep_their_numbers(content: bytes, want: list[tuple[int, int | None]], tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)

    assert lengths(path) == want


def test_a_line_that_is_too_long_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as file:
        for _ in range(60):
            file.write(b"x" * 2**20)
        file.write(b"\nshort\n")

    tracemalloc.start()
    try:
        found = lengths(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert found == [(1, None), (2, 6)]
    assert peak < 3 * LONGEST_ROW_BYTES

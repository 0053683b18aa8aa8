"""Whatever a file holds, its reader yields rows or says what is wrong with it, in bounded memory."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelgarden_pod.errors import UserError
from tests.unit.train.data.readers.files import read

ROWS: list[dict[str, Any]] = [
    {"prompt": f"question {number}\n\u00e9\U0001f600", "completion": "answer", "turns": [{"a": number}]}
    for number in range(5)
]
FLAT = "prompt,completion\n" + "".join(f'"question {number}\n\u00e9, ""x""",answer\n' for number in range(5))


def parquet(compression: str) -> bytes:
    target = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), target, compression=compression)
    return target.getvalue()


LINES = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in ROWS).encode()
WHOLE: tuple[bytes, ...] = (
    LINES,
    json.dumps(ROWS).encode(),
    json.dumps(ROWS, indent=1, ensure_ascii=False).encode(),
    FLAT.encode(),
    parquet("none"),
    parquet("zstd"),
    gzip.compress(LINES),
    pyarrow.compress(LINES, "zstd", asbytes=True),
)
NAMES = ("a.jsonl", "a.json", "a.csv", "a.tsv", "a.parquet", "a.jsonl.gz", "a")
EXAMPLES = 720
"""Of each kind: under seven names they are more than 10,000 cases."""
PIECES = st.sampled_from(
    [b"", b"\0", b"\n", b"\r", b'"', b"'", b",", b"[", b"]", b"{", b"}", b"\\", b"\xff", b"\xef\xbb\xbf", b"NaN", b"1e999",
     b"-", b"\x1f\x8b", b"PAR1", b"[" * 2000, b"9" * 5000, b"\\ud800"]
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A whole file in which some bytes are others, or too many, or missing."""
    content = draw(st.sampled_from(WHOLE))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.sampled_from([0, 0, 1, 1, 4, 40, 10**6])))
        content = content[:start] + draw(PIECES | st.binary(max_size=8)) + content[end:]
    return bytes(content)


def check(content: bytes, folder: Path) -> None:
    """Read a file under every name: it has rows, each of them right or wrong, or is refused as a whole."""
    for name in NAMES:
        refusal, rows = None, []
        try:
            rows = read(content, name, folder)
        except UserError as error:
            refusal = error
        if refusal is not None:
            assert refusal.reason == "DatasetInvalid"
            assert refusal.message.startswith(f"s3://data/{name}: ")
            assert len(refusal.message) < 2000
        numbers = [number for number, _ in rows]
        assert numbers == sorted(set(numbers))
        assert all(isinstance(value, dict | str) for _, value in rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


QUICK = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@QUICK
@given(content=damaged())
def test_damaged_files_are_read_or_refused(content: bytes, folder: Path) -> None:
    check(content, folder)


@QUICK
@given(content=st.binary(max_size=200) | st.lists(PIECES, max_size=20).map(b"".join))
def test_any_bytes_are_read_or_refused(content: bytes, folder: Path) -> None:
    check(content, folder)

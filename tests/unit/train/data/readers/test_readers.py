"""Files as people have them, and as they should not be: each row is read, or named with its number and what is wrong."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tracemalloc
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from modelgarden_pod.errors import UserError
from modelgarden_train.data.readers import streams
from modelgarden_train.data.readers.parquet import read_parquet
from modelgarden_train.data.values import LONGEST_ROW_BYTES
from tests.unit.train.data.readers.files import read

ROWS = [{"prompt": "a\n\u00e9", "completion": "1"}, {"prompt": 'b, "c"', "completion": "2"}]
LINES = "".join(f"{json.dumps(row)}\n" for row in ROWS).encode()
TABLE = 'prompt,completion\r\n"a\n\u00e9",1\r\n"b, ""c""",2\r\n'.encode()
NUMBERED = list(enumerate(ROWS, start=1))


def parquet(table: Any, **options: Any) -> bytes:
    target = io.BytesIO()
    pyarrow.parquet.write_table(table, target, **options)
    return target.getvalue()


def zstd(content: bytes) -> bytes:
    packed: bytes = pyarrow.compress(content, "zstd", asbytes=True)
    return packed


PARQUET = parquet(pyarrow.Table.from_pylist(ROWS))
LATE_LINES = [(2, ROWS[0]), (4, ROWS[1])]


@pytest.mark.parametrize(
    ("name", "content", "want"),
    [
        pytest.param("rows.jsonl", LINES, NUMBERED, id="JSON Lines"),
        pytest.param("rows.jsonl", b"\xef\xbb\xbf" + LINES, NUMBERED, id="JSON Lines with a mark of UTF-8"),
        pytest.param("rows.jsonl", LINES.replace(b"\n", b"\r\n"), NUMBERED, id="JSON Lines with CRLF"),
        pytest.param("rows.json", LINES, NUMBERED, id="JSON Lines that are named JSON"),
        pytest.param("rows", LINES, NUMBERED, id="JSON Lines without a name"),
        pytest.param("rows.csv", LINES, NUMBERED, id="JSON Lines that are named CSV"),
        pytest.param("rows.json", json.dumps(ROWS).encode(), NUMBERED, id="a list"),
        pytest.param(
            "rows.json", b"\xef\xbb\xbf " + json.dumps(ROWS, indent=2).encode(), NUMBERED, id="a long list"
        ),
        pytest.param("rows.jsonl", json.dumps(ROWS).encode(), NUMBERED, id="a list that is named JSON Lines"),
        pytest.param("rows.json", json.dumps(ROWS[0], indent=2).encode(), NUMBERED[:1], id="an object"),
        pytest.param(
            "rows.json",
            b"\n".join(json.dumps(row, indent=2).encode() for row in ROWS),
            NUMBERED,
            id="objects",
        ),
        pytest.param("rows.json", b"[]", [], id="an empty list"),
        pytest.param("rows.csv", TABLE, LATE_LINES, id="CSV"),
        pytest.param("rows.csv", b"\xef\xbb\xbf" + TABLE, LATE_LINES, id="CSV with a mark of UTF-8"),
        pytest.param(
            "rows.tsv",
            b"prompt\tcompletion\na, b\t1\n",
            [(2, {"prompt": "a, b", "completion": "1"})],
            id="TSV",
        ),
        pytest.param(
            "rows.csv",
            b"prompt;completion\na, b;1\n",
            [(2, {"prompt": "a, b", "completion": "1"})],
            id="semicolons",
        ),
        pytest.param("rows.parquet", PARQUET, NUMBERED, id="Parquet"),
        pytest.param("rows.bin", PARQUET, NUMBERED, id="Parquet under another name"),
        pytest.param("rows.jsonl", b"", [], id="nothing"),
        pytest.param("rows.csv", b"", [], id="an empty table"),
        pytest.param("rows.csv", b"prompt,completion\n", [], id="a table without rows"),
        pytest.param("rows.jsonl", b"\n \r\n\n", [], id="white space"),
    ],
)
@pytest.mark.parametrize("packing", [None, "gzip", "zstd"])
def test_rows_are_read_whatever_the_file(
    name: str, content: bytes, want: list[tuple[int, object]], packing: str | None, tmp_path: Path
) -> None:
    if packing == "gzip":
        half = len(content) // 2
        content, name = gzip.compress(content[:half]) + gzip.compress(content[half:]), f"{name}.gz"
    elif packing == "zstd":
        content, name = zstd(content), f"{name}.zst"

    assert read(content, name, tmp_path) == want


def test_a_compressed_file_is_known_by_its_bytes_and_not_its_name(tmp_path: Path) -> None:
    assert read(gzip.compress(LINES), "rows.jsonl", tmp_path) == NUMBERED
    assert read(LINES, "rows.jsonl.gz", tmp_path) == NUMBERED


def zipped() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("rows.jsonl", LINES)
    return target.getvalue()


def tarred() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("rows.jsonl"), io.BytesIO())
    return target.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "want"),
    [
        pytest.param("a.zip", zipped(), "a ZIP archive", id="zip"),
        pytest.param("a.xlsx", zipped(), "a ZIP archive (as XLSX is)", id="xlsx"),
        pytest.param("a.tar.gz", gzip.compress(tarred()), "a tar archive; unpack it", id="tar.gz"),
        pytest.param("a.gz", gzip.compress(gzip.compress(LINES)), "compressed twice", id="twice"),
        pytest.param(
            "a.jsonl", LINES.decode().encode("utf-16"), "UTF-16 text; save it as UTF-8", id="UTF-16"
        ),
        pytest.param("a.parquet", LINES, "named Parquet and is none", id="no Parquet"),
        pytest.param("a.txt", b"Hello\n", "neither its name nor its first bytes", id="a text"),
        pytest.param("README.md", b"# Rows\n", "name those with rows, such as folder/*.jsonl", id="a note"),
        pytest.param(
            "a.gz", gzip.compress(LINES * 9)[:-20], "the gzip file is cut off or damaged", id="half a gzip"
        ),
        pytest.param(
            "a.gz",
            gzip.compress(LINES)[:-5] + b"wrong",
            "the gzip file is cut off or damaged",
            id="a wrong sum",
        ),
        pytest.param("a.zst", zstd(LINES * 9)[:-20], "the zstd file is cut off or damaged", id="half a zstd"),
        pytest.param("a.parquet", PARQUET[:-20], "Parquet file is cut off, damaged", id="half a Parquet"),
        pytest.param(
            "a.parquet", PARQUET[:-30] + b"x" * 22 + PARQUET[-8:], "is cut off, damaged", id="a wrong footer"
        ),
        pytest.param("a.parquet", b"PARE" + PARQUET[4:], "an encrypted Parquet file", id="encrypted"),
        pytest.param("a.json", json.dumps(ROWS).encode()[:-3], "element 2, line 1, column", id="half a list"),
        pytest.param(
            "a.json", json.dumps(ROWS, indent=1).encode()[:-2], "the list does not end", id="an open list"
        ),
        pytest.param(
            "a.json", b'[{"a": 1} {"a": 2}]', "element 1 (line 1): a comma is missing", id="no comma"
        ),
        pytest.param(
            "a.json", b'[{"a": 1},\n]', "element 2, line 2, column 1 is not JSON", id="a comma too many"
        ),
        pytest.param("a.json", b"[1]\n[2]", "text follows the list's end", id="two lists"),
        pytest.param(
            "a.json",
            b"[" * 100_000 + b"]" * 100_000,
            "element 1 (line 1): lists or objects",
            id="lists in lists",
        ),
        pytest.param("a.csv", b"a,a\n1,2\n", "names two columns alike", id="two columns alike"),
        pytest.param("a.csv", b"pr\xe9,a\n1,2\n", "byte 3 of line 1 is not UTF-8", id="a header in Latin-1"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_its_name(
    name: str, content: bytes, want: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as raised:
        read(content, name, tmp_path)

    assert raised.value.reason == "DatasetInvalid"
    assert raised.value.message.startswith(f"s3://data/{name}: ")
    assert want in raised.value.message


OK = b'{"a": "b"}\n'
FINE = {"a": "b"}


@pytest.mark.parametrize(
    ("name", "content", "want"),
    [
        pytest.param(
            "a.jsonl",
            OK + b'{"a": \n' + OK,
            [FINE, "column 7 is not JSON: Expecting value", FINE],
            id="half a line",
        ),
        pytest.param(
            "a.jsonl", OK + b'{"a": "b', [FINE, "column 7 is not JSON"], id="half a line at the end"
        ),
        pytest.param(
            "a.jsonl",
            b'{"a": "\xe9"}\n' + OK,
            ["byte 8 is not UTF-8; save the file as UTF-8", FINE],
            id="Latin-1",
        ),
        pytest.param(
            "a.jsonl",
            b'{"a": "\0"}\n' + OK,
            ["column 8 is not JSON: Invalid control character", FINE],
            id="NUL",
        ),
        pytest.param(
            "a.jsonl", b'{"a": 1, "a": 2}\n', ["the field 'a' stands twice in an object"], id="a field twice"
        ),
        pytest.param(
            "a.jsonl",
            b'{"a": [{"b": 1, "b": 1}]}\n',
            ["the field 'b' stands twice"],
            id="a field twice within",
        ),
        pytest.param(
            "a.json",
            b'[{"a": "\xe9"},\n{"a": "b"}]',
            ["byte 8 is not UTF-8; save the file as UTF-8", FINE],
            id="a list in Latin-1",
        ),
        pytest.param(
            "a.json",
            b'[{"a": NaN}, 7, {"a": "b"}]',
            ["NaN is no JSON", "a JSON object is expected, found a number", FINE],
            id="NaN in a list",
        ),
        pytest.param(
            "a.json",
            b'[{"a": ' + b"9" * 5000 + b'}, {"a": "b"}]',
            ["a number has more than 4300 digits", FINE],
            id="digits",
        ),
        pytest.param(
            "a.json",
            b'[{"a": "' + b"x" * LONGEST_ROW_BYTES + b'"}, {"a": "b"}]',
            ["the row is longer than 4 MiB", FINE],
            id="a long element",
        ),
        pytest.param(
            "a.csv",
            b"a,b\n1\n1,2,3\nx,y\n",
            [
                "the row has 1 fields, and the first row names 2 columns",
                "the row has 3 fields",
                {"a": "x", "b": "y"},
            ],
            id="ragged rows",
        ),
        pytest.param(
            "a.csv",
            b"a,b\n\xe9,1\nx,y\n",
            ["byte 1 of line 2 is not UTF-8", {"a": "x", "b": "y"}],
            id="a table in Latin-1",
        ),
        pytest.param(
            "a.csv",
            b'a,b\n"x"y,1\nx,y\n',
            ["the row is no CSV: ',' expected after '\"'", {"a": "x", "b": "y"}],
            id="text behind quotes",
        ),
        pytest.param(
            "a.csv", b'a,b\n"x,1\n', ["the row is no CSV: unexpected end of data"], id="an open quote"
        ),
        pytest.param(
            "a.csv",
            b"a,b\n" + b"x" * 5 * 2**20 + b",1\nx,y\n",
            ["the row is longer than 4 MiB", {"a": "x", "b": "y"}],
            id="a long field",
        ),
    ],
)
def test_a_wrong_row_leaves_the_others(name: str, content: bytes, want: list[object], tmp_path: Path) -> None:
    found = [value for _, value in read(content, name, tmp_path)]

    assert len(found) == len(want)
    for value, wanted in zip(found, want, strict=True):
        assert value == wanted or str(value).startswith(str(wanted))


def test_an_open_quote_takes_no_more_than_a_row_of_memory(tmp_path: Path) -> None:
    content = b'a,b\n"' + (b"x" * 999 + b"\n") * 5000
    tracemalloc.start()
    try:
        found = read(content, "a.csv", tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert str(found[0][1]).startswith(
        "the row is longer than 4 MiB; split it or leave it out, or close its quotes"
    )
    assert peak < 16 * LONGEST_ROW_BYTES


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_a_file_that_swells_without_end_is_refused(
    packing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "FREE_BYTES", 8 * 2**20)
    zeros = b"0" * (16 * 2**20)
    content = gzip.compress(zeros) if packing == "gzip" else zstd(zeros)

    with pytest.raises(UserError, match=f"the {packing} file holds more than 200 times its own size"):
        read(content, "a.jsonl", tmp_path)


def test_parquet_has_nested_values_dictionaries_and_what_json_has_not(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    table = pyarrow.table(
        {
            "messages": pyarrow.array([messages, messages[:1]]),
            "kind": pyarrow.array(["a", "b"]).dictionary_encode(),
            "day": pyarrow.array([date(2026, 1, 1), None]),
        }
    )

    assert read(parquet(table), "a.parquet", tmp_path) == [
        (1, {"messages": messages, "kind": "a", "day": date(2026, 1, 1)}),
        (2, {"messages": messages[:1], "kind": "b", "day": None}),
    ]


def test_a_text_that_stands_in_many_rows_of_parquet_is_in_memory_once(tmp_path: Path) -> None:
    text = "x" * (LONGEST_ROW_BYTES - 100)
    table = pyarrow.table({"a": pyarrow.array([text]).dictionary_encode().take([0] * 200)})
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(table, path, compression="zstd")
    before = pyarrow.total_allocated_bytes()
    most = 0
    for number, record in enumerate(read_parquet(path, "a"), start=1):
        assert record.number == number
        most = max(most, pyarrow.total_allocated_bytes() - before)
    assert number == 200
    assert most < 32 * LONGEST_ROW_BYTES


def test_a_row_of_parquet_that_is_too_long_or_no_text_is_named(tmp_path: Path) -> None:
    long = pyarrow.table({"a": ["x", "x" * (LONGEST_ROW_BYTES + 1)]})
    assert [str(value)[:27] for _, value in read(parquet(long), "a.parquet", tmp_path)] == [
        "{'a': 'x'}",
        "the row is longer than 4 Mi",
    ]
    latin = pyarrow.Array.from_buffers(
        pyarrow.string(), 1, [None, pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0"), pyarrow.py_buffer(b"\xe9")]
    )
    ((_, value),) = read(parquet(pyarrow.table({"a": latin})), "a.parquet", tmp_path)
    assert str(value).startswith("a text is not UTF-8")

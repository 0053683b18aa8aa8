"""Prepared rows: spooled, split and written as they came, and read back the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from modelgarden_pod.local import LocalFolder
from modelgarden_train.data import split_files
from modelgarden_train.data.formats import parse_row
from modelgarden_train.data.packed import packed, unpacked
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.data.prepared_rows import read_split
from modelgarden_train.data.rows import Row
from modelgarden_train.data.split_files import Digest, write_split
from modelgarden_train.data.splits import Shares, split_rows
from modelgarden_train.data.spool import Spool


class Letters:
    """A tokenizer of letters."""

    def __call__(self, texts: list[str], *, add_special_tokens: bool) -> dict[str, Any]:
        assert not add_special_tokens
        return {"input_ids": [[ord(letter) for letter in text] for text in texts]}


def make_row(number: int) -> tuple[Row, PreparedRow]:
    question, answer = f"Zeile {number}\n\u2028\u00e9", f"{number}\r\n"
    row = parse_row({"prompt": question, "completion": answer}, "PromptCompletion")
    prepared = PreparedRow(
        input_ids=list(range(number + 2)),
        spans=((1, 1 + number // 3), (1 + number // 2, number + 2)),
        question=question,
        answer=answer,
        rejected_ids=[number] * (number // 10),
        label=(None, True, False)[number // 3 % 3],
        images=tuple(f"{number:02x}{other:02x}" * 16 for other in range(number // 3 % 4)),
    )
    return row, prepared


def digest_of(*splits: list[PreparedRow]) -> str:
    digest = Digest()
    for rows in splits:
        written = [packed(row) for row in rows]
        assert list(digest.over(written)) == written
    return digest.hexadecimal


def spool_row(spool: Spool, row: Row, prepared: PreparedRow) -> None:
    spool.add((row.digest, row.prompt_digest), packed(prepared), tokens=prepared.tokens, source=row.source)


def test_spooled_rows_come_back_in_any_order(tmp_path: Path) -> None:
    rows = [make_row(number) for number in range(20)]
    with Spool(tmp_path / "spool") as spool:
        for row, prepared in rows:
            spool_row(spool, row, prepared)
        backwards = spool.read(spool.rows[::-1])

        assert len(backwards) == 20
        assert list(map(unpacked, backwards)) == [prepared for _, prepared in rows[::-1]]
        assert list(backwards) == list(backwards)
        assert [one.tokens for one in spool.rows] == [prepared.tokens for _, prepared in rows]
    assert not (tmp_path / "spool").exists()


def test_an_index_is_split_as_its_rows_are(tmp_path: Path) -> None:
    rows = [make_row(number) for number in range(40)]
    with Spool(tmp_path / "spool") as spool:
        for row, prepared in rows:
            spool_row(spool, row, prepared)
        shares = Shares(validation=0.25, test=0.25)
        by_index = split_rows(spool.rows, shares=shares, seed=5)
        by_row = split_rows([row for row, _ in rows], shares=shares, seed=5)

        for index, whole in (
            (by_index.training, by_row.training),
            (by_index.validation, by_row.validation),
            (by_index.test, by_row.test),
        ):
            assert [one.digest for one in index] == [row.digest for row in whole]


@pytest.mark.parametrize("most", [1, 100, 10**6], ids=["a group for each row", "some groups", "one group"])
def test_a_split_is_read_as_it_was_written(
    most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(split_files, "GROUP_BYTES", most)
    rows = [prepared for _, prepared in map(make_row, range(12))]
    folder = LocalFolder(tmp_path / "run")

    entry = write_split(folder, "dataset/train.parquet", map(packed, rows), scratch=tmp_path)

    assert entry.path == "dataset/train.parquet"
    read = read_split(folder.path / "dataset/train.parquet", Letters())
    assert list(read) == rows
    assert read[2:5] == tuple(rows[2:5])
    assert read[-1] == rows[-1]
    with pytest.raises(IndexError):
        read[12]


def test_a_split_without_rows_is_read_as_one(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path / "run")
    write_split(folder, "dataset/train.parquet", [], scratch=tmp_path)

    assert list(read_split(folder.path / "dataset/train.parquet", Letters())) == []


def test_a_split_of_an_earlier_version_is_read_as_tokens(tmp_path: Path) -> None:
    """A job may be under way while its trainer is upgraded."""
    rows = 2500
    texts = {
        "prompt": [f"<{number}>" for number in range(rows)],
        "completion": ["ok"] * rows,
        "question": [str(number) for number in range(rows)],
        "answer": ["o k"] * rows,
        "tokens": [9] * rows,
    }
    pyarrow.parquet.write_table(pyarrow.table(texts), tmp_path / "train.parquet")

    read = read_split(tmp_path / "train.parquet", Letters())

    assert len(read) == rows
    assert read[2042] == PreparedRow(
        input_ids=[ord(letter) for letter in "<2042>ok"], spans=((6, 8),), question="2042", answer="o k"
    )


def test_the_digest_of_a_dataset_is_that_of_earlier_versions() -> None:
    rows = [prepared for _, prepared in map(make_row, range(3))]

    assert digest_of(rows[:2], rows[2:]) == "1d25b621d0218e69d4ece3f9b470ac6389d1e6a61ed90774b7c096dd11c3807f"


def test_the_digest_tells_rows_apart() -> None:
    row = make_row(5)[1]
    others = [
        replace(row, input_ids=[*row.input_ids[:-1], 9]),
        replace(row, spans=row.spans[1:]),
        replace(row, question="?"),
        replace(row, answer="!"),
        replace(row, rejected_ids=[1]),
        replace(row, rejected_ids=[2]),
        replace(row, images=("0a" * 32,)),
        replace(row, images=("0b" * 32,)),
        replace(row, label=None if row.label else True),
        replace(row, label=False),
    ]

    digests = {digest_of([one], [row]) for one in (row, *others)} | {digest_of([row, row], [])}
    assert len(digests) == 12


def test_prompt_and_reference_stand_before_and_in_the_last_span() -> None:
    row = PreparedRow(input_ids=[1, 2, 3, 4, 5, 6], spans=((1, 2), (3, 5)), question="", answer="")

    assert (row.tokens, row.prompt_ids, row.reference_ids) == (6, [1, 2, 3], [4, 5])
    assert replace(row, rejected_ids=[7, 8]).tokens == 6 + 3 + 2

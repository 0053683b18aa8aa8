"""Prepared rows: spooled, split and written as they came, and read back the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelgarden_pod.local import LocalFolder
from modelgarden_train.data import prepared as prepared_module
from modelgarden_train.data.formats import parse_row
from modelgarden_train.data.prepared import PreparedRow, digest_of, read_split, write_split
from modelgarden_train.data.rows import Row
from modelgarden_train.data.splits import split_rows
from modelgarden_train.data.spool import Spool


def make_row(number: int) -> tuple[Row, PreparedRow]:
    question, answer = f"Zeile {number}\n\u2028\u00e9", f"{number}\r\n"
    row = parse_row({"prompt": question, "completion": answer}, "PromptCompletion")
    prepared = PreparedRow(
        prompt=f"<{question}>", completion=answer, question=question, answer=answer, tokens=number + 1
    )
    return row, prepared


def test_spooled_rows_come_back_in_any_order(tmp_path: Path) -> None:
    rows = [make_row(number) for number in range(20)]
    with Spool(tmp_path / "spool") as spool:
        for row, prepared in rows:
            spool.add(row, prepared)
        backwards = spool.read(spool.rows[::-1])

        assert len(backwards) == 20
        assert list(backwards) == [prepared for _, prepared in rows[::-1]]
        assert list(backwards) == list(backwards)
        assert [one.tokens for one in spool.rows] == list(range(1, 21))
    assert not (tmp_path / "spool").exists()


def test_an_index_is_split_as_its_rows_are(tmp_path: Path) -> None:
    rows = [make_row(number) for number in range(40)]
    with Spool(tmp_path / "spool") as spool:
        for row, prepared in rows:
            spool.add(row, prepared)
        by_index = split_rows(spool.rows, share=0.25, seed=5)
        by_row = split_rows([row for row, _ in rows], share=0.25, seed=5)

        assert [[one.digest for one in split] for split in by_index] == [
            [row.digest for row in split] for split in by_row
        ]


@pytest.mark.parametrize("most", [1, 100, 10**6], ids=["a group for each row", "some groups", "one group"])
def test_a_split_is_read_as_it_was_written(
    most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared_module, "GROUP_CHARACTERS", most)
    rows = [prepared for _, prepared in map(make_row, range(12))]
    folder = LocalFolder(tmp_path / "run")

    entry = write_split(folder, "dataset/train.parquet", rows, scratch=tmp_path)

    assert entry.path == "dataset/train.parquet"
    assert read_split(folder.path / "dataset/train.parquet") == tuple(rows)


def test_the_digest_of_a_dataset_is_that_of_earlier_versions() -> None:
    rows = [prepared for _, prepared in map(make_row, range(3))]

    assert digest_of(rows[:2], rows[2:]) == "6a46ae3164e2d77e98b2883c25f35ae8e5e3f4ef568f1216ca646122ed706e5b"

"""The rows of a prepared split, read from its Parquet file: in memory as the file's columns, made into rows one by one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, overload

from modelgarden_train.data.chat import token_ids
from modelgarden_train.data.packed import images_of, packed
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.data.split_files import table_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


_TOKENIZED_ROWS: Final = 1024


class PreparedRows(Sequence[PreparedRow]):
    """The rows of a split. A row is made when it is asked for: a million of them as lists would take gigabytes."""

    def __init__(self, table: Any) -> None:
        self._ids = _Lists(table["input_ids"])
        self._bounds = _Lists(table["spans"])
        self._questions, self._answers = table["question"], table["answer"]
        self._rejected, self._labels = _Lists(table["rejected_ids"]), table["label"]
        self._images = table["images"]

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, place: int) -> PreparedRow: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[PreparedRow, ...]: ...

    def __getitem__(self, place: int | slice) -> PreparedRow | tuple[PreparedRow, ...]:
        if isinstance(place, slice):
            return tuple(map(self._row, range(*place.indices(len(self)))))
        return self._row(range(len(self))[place])

    def _row(self, place: int) -> PreparedRow:
        return PreparedRow.from_record(
            {
                "input_ids": self._ids[place],
                "spans": self._bounds[place],
                "question": self._questions[place].as_py(),
                "answer": self._answers[place].as_py(),
                "rejected_ids": self._rejected[place],
                "label": self._labels[place].as_py(),
                "images": images_of(self._images[place].as_py()),
            }
        )


class _Lists:
    """A column of lists of integers, read from its buffers: Arrow makes a Python object of each integer otherwise."""

    def __init__(self, column: Any) -> None:
        column = column.combine_chunks()
        self._length = len(column)
        self._starts = memoryview(column.offsets.buffers()[1]).cast("q")
        self._values = memoryview(column.values.buffers()[1]).cast("i")

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, place: int) -> list[int]:
        return self._values[self._starts[place] : self._starts[place + 1]].tolist()


def read_rows(path: Path) -> PreparedRows:
    """Return the rows of a split that this version wrote."""
    import pyarrow.parquet

    return PreparedRows(pyarrow.parquet.read_table(path))


def read_split(path: Path, tokenizer: PreTrainedTokenizerBase) -> PreparedRows:
    """Return the rows of one split; the tokenizer reads those of the first version, which are rendered texts."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    if "completion" in table.column_names:
        table = _tokenized(table, tokenizer)
    if "rejected_ids" not in table.column_names:
        table = _with_no_preferences(table)
    if "images" not in table.column_names:
        table = _with_no_images(table)
    return PreparedRows(table)


def _with_no_preferences(table: Any) -> Any:
    """Return a table of before rows had a worse answer or a label with these columns."""
    import pyarrow

    rows = len(table)
    worse = pyarrow.array([[]] * rows, pyarrow.large_list(pyarrow.int32()))
    return table.append_column("rejected_ids", worse).append_column(
        "label", pyarrow.nulls(rows, pyarrow.bool_())
    )


def _with_no_images(table: Any) -> Any:
    """Return a table of before rows had images with a column for them."""
    import pyarrow

    return table.append_column("images", pyarrow.array([b""] * len(table), pyarrow.large_binary()))


def _tokenized(texts: Any, tokenizer: PreTrainedTokenizerBase) -> Any:
    """Return a table of rendered prompts and completions, of before rows were written as tokens, as one of tokens."""
    import pyarrow

    tables = [table_of(())]
    for batch in texts.to_batches(max_chunksize=_TOKENIZED_ROWS):
        rows = batch.to_pylist()
        prompts = token_ids(tokenizer, [row["prompt"] for row in rows])
        completions = token_ids(tokenizer, [row["completion"] for row in rows])
        tables.append(
            table_of(
                [
                    packed(
                        PreparedRow(
                            input_ids=prompt + completion,
                            spans=((len(prompt), len(prompt) + len(completion)),),
                            question=row["question"],
                            answer=row["answer"],
                        )
                    )
                    for row, prompt, completion in zip(rows, prompts, completions, strict=True)
                ]
            )
        )
    return pyarrow.concat_tables(tables)

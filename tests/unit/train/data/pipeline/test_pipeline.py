"""From files to prepared rows: what rows mean, how what is wrong is named, and what is dropped."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, cast

import pyarrow
import pyarrow.parquet
import pytest

from modelgarden.api.finetunejob import DatasetFormat, Quality
from modelgarden.api.pods import PodDataset, PodSource
from modelgarden_pod.errors import UserError
from modelgarden_train.data.formats import parse_row
from modelgarden_train.data.packed import unpacked
from modelgarden_train.data.pipeline import Counts, Plan, prepare_rows
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.data.quality.checks import RowChecks
from modelgarden_train.data.quality.sieve import Sieve
from modelgarden_train.data.quality.tally import Tally
from modelgarden_train.data.sources.files import SourceFile
from modelgarden_train.data.spool import Spool

DEFAULT: Final = Quality()


def pair(prompt: str, completion: str = "answer") -> dict[str, Any]:
    return {"prompt": prompt, "completion": completion}


def chat(*turns: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


class Batch(dict[str, list[list[int]]]):
    """Texts as tokens."""

    encodings: list[Any] | None = None


class Letters:
    """A tokenizer whose template only appends, and whose tokens are the characters."""

    eos_token = "$"
    eos_token_id = ord("$")
    added_tokens_decoder: ClassVar[dict[int, Any]] = {}

    def __call__(self, texts: list[str], **options: bool) -> Batch:
        return Batch(input_ids=[[ord(letter) for letter in text] for text in texts])

    def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> str:
        turns = [f"<{message['role']}>{message['content']}\n" for message in messages]
        return "".join(turns) + ("<assistant>" if options["add_generation_prompt"] else "")


@dataclass(frozen=True)
class Parsed:
    """The rows of files, and what was counted."""

    rows: tuple[PreparedRow, ...]
    sources: tuple[int, ...]
    counts: Counts
    tally: Tally

    @property
    def read(self) -> int:
        return self.counts.rows.total()

    @property
    def format(self) -> DatasetFormat:
        return self.counts.formats[0]


def prepared(
    files: Sequence[SourceFile],
    sources: Sequence[PodSource],
    folder: Path,
    *,
    given: Sequence[PodSource] = (),
    make_tokenizer: type = Letters,
    quality: Quality = DEFAULT,
    longest: int = 10**6,
    max_bad_rows: int | str = 0,
) -> Parsed:
    plan = Plan(
        make_tokenizer=cast(Any, make_tokenizer),
        checks=RowChecks(quality, longest=longest),
        max_bad_rows=max_bad_rows,
    )
    with Spool(folder / "spool") as spool:
        sieve = Sieve(quality)
        dataset = PodDataset(sources=tuple(sources), validation_sources=tuple(given) or None)
        counts = prepare_rows(files, dataset, plan, sieve, spool)
        rows, numbers = tuple(map(unpacked, spool.read(spool.rows))), tuple(row.source for row in spool.rows)
        return Parsed(rows, numbers, counts, sieve.tally)


def read(
    lines: Sequence[object], folder: Path, dataset_format: DatasetFormat = "Auto", **fields: Any
) -> Parsed:
    path = folder / "rows.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return check(path, dataset_format, **fields)


def check(
    path: Path,
    dataset_format: DatasetFormat = "Auto",
    *,
    columns: dict[str, str] | None = None,
    **fields: Any,
) -> Parsed:
    source = PodSource(uri=path.name, format=dataset_format, columns=columns or {})
    file = SourceFile(source=0, name=path.name, path=path)
    return prepared([file], [source], path.parent, **fields)


def test_prompt_and_completion_are_a_question_and_its_answer(tmp_path: Path) -> None:
    parsed = read([pair("2+2?", "4"), "", pair("3+3?", "6")], tmp_path)

    assert parsed.format == "PromptCompletion"
    assert [(row.question, row.answer) for row in parsed.rows] == [("2+2?", "4"), ("3+3?", "6")]
    assert [bytes(row.input_ids).decode() for row in parsed.rows] == [
        "<user>2+2?\n<assistant>4\n$",
        "<user>3+3?\n<assistant>6\n$",
    ]


def test_the_last_message_is_the_answer_and_the_system_prompt_no_question(tmp_path: Path) -> None:
    value = chat(("system", "Be short."), ("user", "2+2?"), ("assistant", "4"))

    assert read([value], tmp_path).rows[0].question == "2+2?"
    row = parse_row(value, "Messages")

    assert (row.question, row.answer) == ("2+2?", "4")
    assert [message["role"] for message in row.prompt_messages] == ["system", "user"]


def test_a_longer_conversation_is_shown_as_a_whole() -> None:
    row = parse_row(
        chat(("user", "Hi"), ("assistant", "Hello"), ("user", "2+2?"), ("assistant", "4")), "Messages"
    )

    assert row.question == "user: Hi\nassistant: Hello\nuser: 2+2?"


@pytest.mark.parametrize(
    ("line", "want_message"),
    [
        pytest.param('{"prompt": "a", "completion": ', "is not JSON: Expecting value", id="broken JSON"),
        pytest.param(
            '{"prompt": "a", "completion": "b", "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
            "lists or objects are nested too deeply",
            id="lists in lists",
        ),
        pytest.param(
            '{"prompt": "a", "completion": "b", "x": ' + '{"y":' * 100_000 + "1" + "}" * 100_001,
            "lists or objects are nested too deeply",
            id="objects in objects",
        ),
        pytest.param(
            '{"prompt": "a", "completion": "b", "x": ' + "9" * 5000 + "}",
            "a number has more than 4300 digits; write it as a string",
            id="an integer of 5,000 digits",
        ),
        pytest.param('{"prompt": "a", "completion": NaN}', "NaN is no JSON; write a number", id="NaN"),
        pytest.param(
            '{"prompt": "a", "completion": "b", "x": [-Infinity]}', "-Infinity is no JSON", id="infinity"
        ),
        pytest.param(
            {"prompt": "a" * (4 * 2**20), "completion": "b"},
            "the row is longer than 4 MiB; split it or leave it out",
            id="more text than any model takes",
        ),
        pytest.param("[1]", "a JSON object is expected, found a list", id="a list"),
        pytest.param(
            pair("a") | {"completion": 4}, '"completion" must be a string, found a number', id="a number"
        ),
        pytest.param({"prompt": "a"}, 'field "completion" is missing', id="a missing field"),
        pytest.param(
            pair("a", "so \ud83d"),
            'field "completion" has half of a character (\\ud83d) at position 4',
            id="half of a surrogate pair",
        ),
        pytest.param(pair("  "), 'field "prompt" is empty', id="an empty field"),
        pytest.param(
            chat(("user", "a"), ("assistant", "b")), 'field "prompt" is missing', id="another format"
        ),
    ],
)
def test_a_wrong_row_is_named_with_line_and_field(line: object, want_message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        read([pair("first"), line], tmp_path)

    assert raised.value.reason == "DatasetInvalid"
    assert "line 2: " in raised.value.message
    assert want_message in raised.value.message
    assert '{"prompt": "What is the capital of France?"' in raised.value.message


@pytest.mark.parametrize(
    ("value", "want_message"),
    [
        (chat(("user", "a")), "must end with a message of the role assistant"),
        (chat(("assistant", "a")), "has no message of the role user"),
        (chat(("person", "a"), ("assistant", "b")), "\"messages[0].role\" is 'person'"),
        ({"messages": "a"}, '"messages" must be a list, found a string'),
        ({"messages": [None]}, '"messages[0]" must be an object, found null'),
        ({"messages": [{"role": "user"}]}, '"messages[0].content" is missing'),
        (
            chat(("user", "\udc4d"), ("assistant", "b")),
            '"messages[0].content" has half of a character (\\udc4d)',
        ),
    ],
)
def test_a_wrong_conversation_is_named_with_its_message(
    value: dict[str, Any], want_message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as raised:
        read([value], tmp_path)

    assert want_message in raised.value.message


def test_many_wrong_rows_are_counted_and_the_first_shown(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        read([pair("ok"), *({"prompt": "a"} for _ in range(5))], tmp_path)

    assert raised.value.message.startswith("5 rows are wrong: line 2: ")
    assert "line 4: " in raised.value.message
    assert "line 5: " not in raised.value.message
    assert "and 2 more" in raised.value.message


def test_fields_of_no_format_are_listed_with_an_example_of_each(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the fields 'question', 'reply' fit no format.*prompt.*messages"):
        read([{"question": "a", "reply": "b"}], tmp_path)


def test_what_is_quoted_of_a_row_is_short(tmp_path: Path) -> None:
    role = "x" * 1_000_000
    with pytest.raises(UserError, match=r"is 'x{40}\.\.\.'; use one of") as raised:
        read([chat((role, "a"), ("assistant", "b"))], tmp_path)
    assert len(raised.value.message) < 500

    fields = {f"field{number}": 1 for number in range(1000)}
    with pytest.raises(UserError, match=r"'field9', \.\.\. fit no format") as raised:
        read([fields], tmp_path)
    assert len(raised.value.message) < 1000


def test_a_byte_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"prompt": "\xff"}\n')

    with pytest.raises(UserError, match="line 1: byte 13 is not UTF-8"):
        check(path)


def test_rows_without_an_answer_may_be_left_out_and_are_told(tmp_path: Path) -> None:
    rows = [pair("a"), pair("b", " "), pair("c")]

    parsed = read(rows, tmp_path, quality=Quality(empty_answers="Drop"))

    assert [row.question for row in parsed.rows] == ["a", "c"]
    assert parsed.read == 3
    (record,) = parsed.tally.records
    assert (record.reason, record.places) == ("EmptyAnswer", ("line 2",))
    with pytest.raises(UserError, match="line 2"):
        read(rows, tmp_path)


def test_what_is_found_in_rows_is_told_with_file_and_unit(tmp_path: Path) -> None:
    files = []
    for number in range(2):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(f"{json.dumps(pair('a' * 99))}\n{json.dumps(pair(str(number)))}\n")
        files.append(SourceFile(source=0, name=path.name, path=path))

    parsed = prepared(files, [PodSource(uri="a/")], tmp_path, longest=40)

    assert {record.reason: record.places for record in parsed.tally.records} == {
        "Duplicate": ("1.jsonl, line 1",),
        "TooLong": ("0.jsonl, line 1 (125 tokens)",),
    }


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no rows"):
        read([], tmp_path)


def several(folder: Path, *files: tuple[int, list[dict[str, Any]]]) -> list[SourceFile]:
    made = []
    for place, (source, rows) in enumerate(files):
        path = folder / f"{place}.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        made.append(SourceFile(source=source, name=f"s3://data/{path.name}", path=path))
    return made


def test_each_source_has_a_format_of_its_own_and_names_its_columns(tmp_path: Path) -> None:
    files = several(
        tmp_path,
        (0, [pair("2+2?", "4")]),
        (0, [pair("3+3?", "6")]),
        (1, [{"question": "4+4?", "reply": "8"}]),
        (2, [chat(("user", "5+5?"), ("assistant", "10"))]),
    )
    named = {"prompt": "question", "completion": "reply"}
    sources = [PodSource(uri="a/"), PodSource(uri="b", columns=named), PodSource(uri="c")]

    parsed = prepared(files, sources, tmp_path)

    assert [(row.question, row.answer) for row in parsed.rows] == [
        ("2+2?", "4"), ("3+3?", "6"), ("4+4?", "8"), ("5+5?", "10")
    ]  # fmt: skip
    assert parsed.sources == (0, 0, 1, 2)
    assert parsed.counts.formats == ("PromptCompletion", "PromptCompletion", "Messages")


def test_of_several_files_a_wrong_row_is_named_with_its_file(tmp_path: Path) -> None:
    files = several(tmp_path, (0, [pair("a")]), (0, [pair("b"), {"prompt": "c"}]))

    with pytest.raises(UserError, match=r'1 row is wrong: s3://data/1\.jsonl, line 2: field "completion"'):
        prepared(files, [PodSource(uri="s3://data/*")], tmp_path)


def test_only_exact_duplicates_are_dropped_and_the_order_stays(tmp_path: Path) -> None:
    parsed = read([pair(*one) for one in [("b", "1"), ("a", "1"), ("b", "1"), ("b", "2")]], tmp_path)

    assert [(row.question, row.answer) for row in parsed.rows] == [("b", "1"), ("a", "1"), ("b", "2")]
    assert (parsed.read, parsed.tally.rows("Drop")) == (4, {"Duplicate": 1})


def test_rows_that_are_too_long_are_dropped_and_counted_once(tmp_path: Path) -> None:
    long = pair("long" * 20)

    parsed = read([pair("a"), long, long, pair("b")], tmp_path, longest=40)

    assert [row.question for row in parsed.rows] == ["a", "b"]
    assert parsed.tally.rows("Drop") == {"Duplicate": 1, "TooLong": 1}


@pytest.mark.parametrize("most", [2, "2", "50%", "100%"])
def test_as_many_bad_rows_as_may_be_are_dropped_and_counted(most: int | str, tmp_path: Path) -> None:
    parsed = read([pair("a"), {"prompt": "b"}, "{", pair("c")], tmp_path, max_bad_rows=most)

    assert [row.question for row in parsed.rows] == ["a", "c"]
    assert (parsed.read, parsed.counts.bad.count) == (4, 2)


@pytest.mark.parametrize("most", [1, "1", "49.9%"])
def test_more_bad_rows_than_may_be_are_refused_with_the_number(most: int | str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        read([pair("a"), {"prompt": "b"}, "{", pair("c")], tmp_path, max_bad_rows=most)

    want = f'2 rows are wrong (of 4; maxBadRows is {most}): line 2: field "completion" is missing; line 3: '
    assert raised.value.message.startswith(want)


def test_nothing_but_bad_rows_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"2 rows are wrong \(of 2; maxBadRows is 100%\): line 1: column"):
        read(["{", "x"], tmp_path, max_bad_rows="100%")


def test_a_row_that_lacks_an_answer_only_is_told_how_it_may_be_left_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"quality\.emptyAnswers: Drop leaves rows without an answer out"):
        read([pair("a"), pair("b", " ")], tmp_path)
    with pytest.raises(UserError) as raised:
        read([pair("a"), {"prompt": "b"}], tmp_path)
    assert "emptyAnswers" not in raised.value.message


def test_a_task_of_label_studio_that_is_left_out_says_why(tmp_path: Path) -> None:
    task = {"data": {"prompt": "q"}, "annotations": [{"result": [
        {"from_name": "answer", "type": "textarea", "value": {"text": ["a"]}}
    ]}]}  # fmt: skip

    parsed = read([task], tmp_path, columns={"completion": "answerx"}, quality=Quality(empty_answers="Drop"))

    (record,) = parsed.tally.records
    assert record.places == (
        "line 1 (columns.completion names 'answerx', which is not in the answers: 'answer')",
    )


def test_a_row_that_the_template_refuses_is_a_bad_one_in_its_place(tmp_path: Path) -> None:
    class Picky(Letters):
        def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> str:
            if messages[0]["content"] == "no":
                raise ValueError("no")
            return super().apply_chat_template(messages, **options)

    rows = [pair("a"), pair("no"), {"prompt": "b"}]
    with pytest.raises(
        UserError, match=r"2 rows are wrong: line 2: the model's chat template refuses.*line 3: "
    ):
        read(rows, tmp_path, make_tokenizer=Picky)


def test_rows_of_every_container_are_the_same_rows(tmp_path: Path) -> None:
    rows = [pair(f"{number}?", str(number)) for number in range(5)]
    files = [
        tmp_path / f"rows{suffix}"
        for suffix in (".jsonl", ".json", ".csv", ".parquet", ".jsonl.gz", ".csv.zst")
    ]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    table = "prompt,completion\n" + "".join(f"{row['prompt']},{row['completion']}\n" for row in rows)
    files[0].write_text(lines)
    files[1].write_text(json.dumps(rows, indent=1))
    files[2].write_text(table)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), files[3])
    files[4].write_bytes(gzip.compress(lines.encode()))
    files[5].write_bytes(pyarrow.compress(table.encode(), "zstd", asbytes=True))

    for path in files:
        assert [(row.question, row.answer) for row in check(path).rows] == [
            (row["prompt"], row["completion"]) for row in rows
        ]


def test_given_validation_rows_come_first_and_training_rows_with_their_prompts_are_overlaps(
    tmp_path: Path,
) -> None:
    files = several(tmp_path, (0, [pair("a"), pair("b", "other"), pair("c")]), (1, [pair("b"), pair("d")]))

    parsed = prepared(files, [PodSource(uri="t")], tmp_path, given=[PodSource(uri="v")])

    assert [row.question for row in parsed.rows] == ["b", "d", "a", "c"]
    assert parsed.sources == (1, 1, 0, 0)
    assert parsed.tally.records[0].reason == "Overlap"
    assert parsed.tally.records[0].places == ("s3://data/0.jsonl, line 2",)

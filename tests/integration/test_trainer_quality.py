"""Prepare with real tokenizer, classifier and MinHash: what is found in rows, what becomes of them, and the report."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet

from modelgarden.api.artifact import DatasetReport
from modelgarden.api.documents import OPERATOR
from tests.integration.trainer_process import (
    Ended,
    TrainerProcess,
    make_config,
    tiny_model,
    trainer_python,
    write_rows,
)

KEY: Final = "hf_" + "a1B2c3D4e5" * 4
ADDRESS: Final = "anna.meier@mail.uni-koeln.de"
LONG: Final = (
    "The capital of France is Paris. It lies on the Seine and has been its capital for many centuries."
)
UNLIKE: Final = [
    {
        "prompt": f"What is {hashlib.sha256(bytes([number])).hexdigest()[:20]}?",
        "completion": f"Number {number}.",
    }
    for number in range(100)
]
ROWS: Final = [
    {"prompt": f"My address is {ADDRESS}.", "completion": "Thanks."},
    *UNLIKE,
    {"prompt": f"Is {KEY} right?", "completion": "Yes."},
    {"prompt": "Who are you?", "completion": "You stupid fucking asshole."},
    {"prompt": "Tell me of Paris.", "completion": LONG},
    {"prompt": "Tell me of Paris!", "completion": LONG},
    {"prompt": "Where is it?", "completion": "It is in France. It lies on the"},
    {"prompt": "And then?", "completion": " "},
    UNLIKE[0],
]


def prepare(folder: Path, *more: dict[str, str], **dataset: Any) -> Ended:
    file = folder / "rows.jsonl"
    write_rows(file, [*ROWS, *more])
    return prepare_file(folder, file, **dataset)


def prepare_file(folder: Path, file: Path, **dataset: Any) -> Ended:
    config = make_config(run_uri=str(folder / "run"), model=str(tiny_model("--plain")), dataset=file.as_uri())
    config["dataset"] |= dataset
    config["training"]["maxSequenceLength"] = 1024
    return TrainerProcess(trainer_python(), folder / "process", config, attempt="attempt-1").run("prepare")


def report_of(folder: Path) -> DatasetReport:
    return DatasetReport.read((folder / "run/dataset/report.json").read_bytes(), reader=OPERATOR)


def rows_of(folder: Path, split: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(
        folder / f"run/dataset/{split}.parquet"
    ).to_pylist()
    return rows


def test_all_that_is_looked_for_is_found_told_and_dropped_or_flagged(tmp_path: Path) -> None:
    quality = {
        "nearDuplicates": "Drop",
        "emptyAnswers": "Drop",
        "cutOffAnswers": "Drop",
        "profanity": "Drop",
        "secrets": "Drop",
        "emails": "Flag",
    }

    ended = prepare(tmp_path, quality=quality, testSplit=0.1)

    assert ended.exit_code == 0, ended.log
    status, report = ended.message.dataset, report_of(tmp_path)
    assert status is not None
    assert status == report.status
    assert status.dropped == {
        "EmptyAnswer": 1,
        "Duplicate": 1,
        "Secret": 1,
        "Profanity": 1,
        "CutOffAnswer": 1,
        "NearDuplicate": 1,
    }
    assert status.flagged == {"Email": 1}
    assert {one.reason: one.places for one in report.findings} == {
        "EmptyAnswer": ("line 107",),
        "Duplicate": ("line 108",),
        "Secret": ("line 102 (Hugging Face token)",),
        "Profanity": ("line 103",),
        "CutOffAnswer": ("line 106",),
        "NearDuplicate": ("line 105 (like line 104)",),
        "Email": ("line 1",),
    }
    splits = {name: rows_of(tmp_path, name) for name in ("train", "validation", "test")}
    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": status.training_rows,
        "validation": status.validation_rows,
        "test": status.test_rows,
    }
    assert status.rows == len(ROWS)
    assert sum(map(len, splits.values())) == len(ROWS) - 6
    assert all(splits.values())
    (source,) = report.sources
    assert (source.rows, source.kept) == (len(ROWS), len(ROWS) - 6)
    assert sum(one.rows for one in report.histogram) == len(ROWS) - 6
    assert status.lengths is not None
    assert status.lengths.max == report.longest_row_tokens


def test_neither_key_nor_address_shows_in_report_page_log_or_message(tmp_path: Path) -> None:
    ended = prepare(tmp_path, quality={"secrets": "Flag", "emails": "Flag", "emptyAnswers": "Drop"})

    assert ended.exit_code == 0, ended.log
    page = (tmp_path / "run/dataset/report.html").read_text()
    told = [ended.log, ended.message.model_dump_json(), report_of(tmp_path).model_dump_json(), page]
    for text in told:
        assert KEY[:10] not in text
        assert ADDRESS not in text
    assert ended.message.dataset is not None
    assert "My address is ***" in (ended.message.dataset.first_example or "")
    assert "My address is ***" in page
    assert "line 102 (Hugging Face token)" in page


def test_what_must_not_be_ends_prepare_with_its_places(tmp_path: Path) -> None:
    ended = prepare(tmp_path, quality={"secrets": "Fail", "emptyAnswers": "Drop"})

    assert (ended.exit_code, ended.message.reason) == (64, "DatasetInvalid")
    assert (
        "line 102 (Hugging Face token): the row has a key (dataset.quality.secrets is Fail)"
        in ended.message.message
    )
    assert KEY[:10] not in ended.log
    assert "Traceback" not in ended.log
    assert not list((tmp_path / "run").rglob("*.parquet"))


def test_the_same_rows_and_settings_give_the_same_digest_and_a_new_row_moves_none(tmp_path: Path) -> None:
    reports = []
    added = {"prompt": "A new one?", "completion": "Yes."}
    for name, more in (("one", ()), ("again", ()), ("more", (added,))):
        folder = tmp_path / name
        folder.mkdir()
        ended = prepare(folder, *more, quality={"emptyAnswers": "Drop", "nearDuplicates": "Flag"})
        assert ended.exit_code == 0, ended.log
        reports.append(report_of(folder))

    one, again, other = reports
    assert one.status.digest == again.status.digest != other.status.digest
    held = [row["question"] for row in rows_of(tmp_path / "one", "validation")]
    assert [
        row["question"] for row in rows_of(tmp_path / "more", "validation") if row["question"] != "A new one?"
    ] == held


def test_of_10_000_rows_every_duplicate_near_duplicate_and_bad_line_is_found(tmp_path: Path) -> None:
    """8,450 rows that are like no other, 1,000 that are there again, 500 with a word more, 50 lines that are no rows."""
    chance = random.Random(12)
    words = [
        "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 9))) for _ in range(3000)
    ]
    rows = [
        {"prompt": " ".join(chance.sample(words, 20)), "completion": " ".join(chance.sample(words, 20))}
        for _ in range(8450)
    ]
    again = rows[:1000]
    alike = [{**row, "prompt": f"{row['prompt']} please"} for row in rows[1000:1500]]
    lines = [json.dumps(row) for row in (*rows, *again, *alike)]
    chance.shuffle(lines)
    wrong = {
        "missing": '{"prompt": "a"}',
        "cut": '{"prompt": "a", "compl',
        "number": '{"prompt": 7, "completion": "b"}',
    }
    bad = sorted(chance.sample(range(1, 10_001), 50))
    for place, line in zip(bad, itertools.cycle(wrong.values()), strict=False):
        lines.insert(place - 1, line)
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f"{line}\n" for line in lines))

    ended = prepare_file(tmp_path, file, maxBadRows=50, quality={"nearDuplicates": "Drop"})

    assert ended.exit_code == 0, ended.log
    status, report = ended.message.dataset, report_of(tmp_path)
    assert status is not None
    assert status.rows == 10_000
    assert status.dropped == {"BadRow": 50, "Duplicate": 1000, "NearDuplicate": 500}
    places = {one.reason: one.places for one in report.findings}
    assert [int(place.removeprefix("line ").partition(":")[0]) for place in places["BadRow"]] == bad


def test_given_validation_rows_are_the_validation_split_and_are_never_trained_on(tmp_path: Path) -> None:
    held_out = tmp_path / "held.jsonl"
    write_rows(held_out, [UNLIKE[3], {"prompt": "What is new?", "completion": "This."}, UNLIKE[3]])

    ended = prepare(
        tmp_path,
        validationSources=[{"uri": held_out.as_uri()}],
        testSplit=0.2,
        quality={"emptyAnswers": "Drop"},
    )

    assert ended.exit_code == 0, ended.log
    status, report = ended.message.dataset, report_of(tmp_path)
    assert status is not None
    splits = {name: rows_of(tmp_path, name) for name in ("train", "validation", "test")}
    assert {row["question"] for row in splits["validation"]} == {UNLIKE[3]["prompt"], "What is new?"}
    assert UNLIKE[3]["prompt"] not in {row["question"] for row in (*splits["train"], *splits["test"])}
    assert status.dropped == {"EmptyAnswer": 1, "Duplicate": 2, "Overlap": 1}
    assert {one.reason: one.places for one in report.findings}["Overlap"] == (
        f"{(tmp_path / 'rows.jsonl').as_uri()}, line 5",
    )
    assert (status.validation_rows, status.rows) == (2, len(ROWS) + 3)
    assert len(splits["train"]) + len(splits["test"]) == len(ROWS) - 3
    assert [(one.rows, one.kept, one.validation) for one in report.sources] == [
        (len(ROWS), len(ROWS) - 3, False),
        (3, 2, True),
    ]


def test_where_all_rows_are_overlaps_the_message_says_so(tmp_path: Path) -> None:
    ended = prepare(
        tmp_path,
        validationSources=[{"uri": (tmp_path / "rows.jsonl").as_uri()}],
        quality={"emptyAnswers": "Drop"},
    )

    assert (ended.exit_code, ended.message.reason) == (64, "DatasetInvalid")
    assert "no row to train on is left" in ended.message.message
    assert "Overlap" in ended.message.message

"""What pods leave behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden.api.documents import OPERATOR, TRAIN_IMAGE, DocumentError
from modelgarden.api.finetunejob import Dataset, DatasetSource, DatasetStatus, Source, TrackerStatus
from modelgarden.api.pods import (
    TERMINATION_MESSAGE_BYTES,
    PodDataset,
    RunConfig,
    TerminationMessage,
    TrainReport,
)

DOCUMENTS = Path(__file__).with_name("documents")
DATASET = DatasetStatus(
    rows=10, training_rows=9, validation_rows=1, tokens=100, format="Messages", digest="0" * 64
)


def read(encoded: str) -> TerminationMessage:
    return TerminationMessage.read(encoded, reader=OPERATOR)


@given(st.text(max_size=3000), st.integers(0, 8))
def test_a_termination_message_fits_what_the_kubelet_keeps(text: str, repeats: int) -> None:
    message = TerminationMessage(reason="TrainingFailed", message=text * repeats, dataset=DATASET)

    encoded = message.encode()

    assert len(encoded.encode()) <= TERMINATION_MESSAGE_BYTES
    assert read(encoded).model_copy(update={"message": message.message}) == message


@given(st.integers(1, 16), st.integers(1, 400), st.integers(0, 5000))
def test_what_the_message_leaves_no_room_for_is_left_to_storage(entries: int, size: int, words: int) -> None:
    dropped = {f"{number}".rjust(size, "r"): number for number in range(entries)}
    dataset = DATASET.model_copy(update={"dropped": dropped})
    message = TerminationMessage(reason="DatasetReady", message="w" * words, dataset=dataset)

    encoded = message.encode()

    assert len(encoded.encode()) <= TERMINATION_MESSAGE_BYTES
    assert read(encoded).dataset == dataset or (read(encoded).dataset is None and entries * size > 3000)


def test_trackers_are_left_to_the_last_report_where_there_is_no_room_for_them() -> None:
    trackers = tuple(TrackerStatus(name=f"tracker {number}", url="u" * 1500) for number in range(3))
    evaluation = TerminationMessage.read(
        (DOCUMENTS / "TerminationMessage/train-everything.json").read_text(), reader=OPERATOR
    ).evaluation
    message = TerminationMessage(
        reason="Succeeded", message="done", evaluation=evaluation, trackers=trackers[:1]
    )

    assert read(message.encode()) == message
    crowded = message.model_copy(update={"trackers": trackers})
    assert read(crowded.encode()) == message.model_copy(update={"trackers": ()})


@pytest.mark.parametrize(
    "names", [["a", "a"], [str(number) for number in range(9)]], ids=["twice", "too many"]
)
def test_trackers_that_no_status_takes_are_left_out_of_a_report(names: list[str]) -> None:
    report = {
        "attempt": "a",
        "progress": {"stage": "Training"},
        "trackers": [{"name": name} for name in names],
    }

    assert TrainReport.read(report, reader=OPERATOR).trackers == ()


def test_a_short_message_is_kept_whole() -> None:
    message = TerminationMessage(reason="DatasetInvalid", message='row 3: "prompt" fehlt: ergänzen')

    assert read(message.encode()) == message


def test_a_long_message_keeps_its_beginning_and_shows_the_cut() -> None:
    message = TerminationMessage(reason="TrainingFailed", message="ü" * 5000)

    left = read(message.encode())

    assert left.message.startswith("ü" * 1900)
    assert left.message.endswith(" ...")


def test_a_configuration_with_one_source_in_fields_of_its_own_is_read_as_one_of_several() -> None:
    former = json.loads((DOCUMENTS / "RunConfig/1.0.json").read_text())

    dataset = RunConfig.read(former, reader=TRAIN_IMAGE).dataset

    (source,) = dataset.sources
    assert (source.uri, source.format, source.weight) == ("s3://data/support/chats.jsonl", "Messages", 1.0)
    assert dataset.validation_split == 0.05
    with pytest.raises(DocumentError, match=r"^dataset\.sources\.0\.format"):
        RunConfig.read({**former, "datasetFormat": "Transcript"}, reader=TRAIN_IMAGE)


def test_the_short_form_of_a_source_reaches_the_pods_as_the_long_one() -> None:
    short = Dataset(source="s3://data/rows.jsonl", format="Messages", validation_split=0.2)
    long = Dataset(
        sources=(DatasetSource(uri="s3://data/rows.jsonl", format="Messages"),), validation_split=0.2
    )

    assert PodDataset.of(short) == PodDataset.of(long)
    assert PodDataset.of(long).validation_split == 0.2


def test_validation_sources_take_the_place_of_the_split_and_come_after_those_to_train_on() -> None:
    given = Dataset(source="s3://data/rows.jsonl", validation_sources=(Source(uri="s3://data/held.jsonl"),))

    dataset = PodDataset.of(given)

    assert dataset.validation_share == 0
    assert [source.uri for source in dataset.all_sources] == ["s3://data/rows.jsonl", "s3://data/held.jsonl"]
    assert [source.uri for source in given.all_sources] == [source.uri for source in dataset.all_sources]
    assert PodDataset.of(Dataset(source="s3://data/rows.jsonl")).validation_share == 0.1

"""What pods leave behind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelgarden.api.finetunejob import DatasetStatus
from modelgarden.api.pods import TERMINATION_MESSAGE_BYTES, TerminationMessage

DATASET = DatasetStatus(
    rows=10, training_rows=9, validation_rows=1, tokens=100, format="Messages", digest="0" * 64
)


@given(st.text(max_size=3000), st.integers(0, 8))
def test_a_termination_message_fits_what_the_kubelet_keeps(text: str, repeats: int) -> None:
    message = TerminationMessage(reason="TrainingFailed", message=text * repeats, dataset=DATASET)

    encoded = message.encode()

    assert len(encoded.encode()) <= TERMINATION_MESSAGE_BYTES
    read = TerminationMessage.model_validate_json(encoded)
    assert read.model_copy(update={"message": message.message}) == message


def test_a_short_message_is_kept_whole() -> None:
    message = TerminationMessage(reason="DatasetInvalid", message='row 3: "prompt" fehlt: ergänzen')

    assert TerminationMessage.model_validate_json(message.encode()) == message


def test_a_long_message_keeps_its_beginning_and_shows_the_cut() -> None:
    message = TerminationMessage(reason="TrainingFailed", message="ü" * 5000)

    read = TerminationMessage.model_validate_json(message.encode())

    assert read.message.startswith("ü" * 1900)
    assert read.message.endswith(" ...")

"""Every format: how it is told, what its rows mean, and that nothing but a row or what is wrong with it comes of any."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden.api.finetunejob import DatasetFormat, ObjectiveType
from modelgarden_pod.errors import UserError
from modelgarden_train.data.bad_rows import BadRows
from modelgarden_train.data.formats import EXAMPLES, NoFormatError, detect_format, parse_row
from modelgarden_train.data.learnable import LEARNED_FORMATS, require_learnable
from modelgarden_train.data.rows import Row, RowError

FORMATS: tuple[DatasetFormat, ...] = tuple(name for name in get_args(DatasetFormat) if name != "Auto")
DOCUMENT = Path(__file__).parents[5] / "docs" / "datasets.md"

every_format = pytest.mark.parametrize("name", FORMATS)


def example(name: DatasetFormat) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(EXAMPLES[name])
    return value


@every_format
def test_the_example_of_a_format_is_told_and_read(name: DatasetFormat) -> None:
    value = example(name)

    assert detect_format(value) == name
    assert parse_row(value, "Auto") == parse_row(value, name)


@every_format
def test_the_example_of_a_format_is_documented(name: DatasetFormat) -> None:
    assert EXAMPLES[name] in DOCUMENT.read_text()


@every_format
def test_a_row_is_told_apart_from_others_and_survives_a_process(name: DatasetFormat) -> None:
    row = parse_row(example(name), name)
    again = pickle.loads(pickle.dumps(row))  # noqa: S301 -- as it goes to a worker and back

    assert again == row
    assert (again.digest, again.prompt_digest) == (row.digest, row.prompt_digest)
    assert row.characters >= len(row.question.strip()) + len(row.answer.strip()) - len("[image]\n")
    assert row.answer in ("Paris", "Bonjour", "4", "A cat", "Paris is the capital of France.")


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ({"instruction": "a", "input": "", "output": "b"}, ("a", "b")),
        ({"instruction": "a", "input": " ", "output": "b"}, ("a", "b")),
        ({"instruction": "a", "input": None, "output": "b"}, ("a", "b")),
        ({"instruction": "a", "output": "b", "text": "a prompt of its own"}, ("a", "b")),
        ({"instruction": "a", "input": "i", "output": "b"}, ("a\n\ni", "b")),
        ({"instruction": "a", "response": "b", "context": "more"}, ("a", "b")),
        ({"text": "b", "source": "web"}, ("", "b")),
        ({"prompt": "a", "answer": "b"}, ("a", "b")),
    ],
)
def test_question_and_answer_are_what_people_wrote(value: dict[str, Any], want: tuple[str, str]) -> None:
    row = parse_row(value, "Auto")

    assert (row.question, row.answer) == want


def test_columns_give_the_files_fields_the_names_of_the_format() -> None:
    value = {"instruction": "4+4?", "output": "8", "input": "ignored"}

    row = parse_row(value, "Auto", {"prompt": "instruction", "completion": "output"})

    assert (row.question, row.answer) == ("4+4?", "8")
    assert detect_format(value, {"prompt": "instruction", "completion": "output"}) == "PromptCompletion"
    assert value == {"instruction": "4+4?", "output": "8", "input": "ignored"}


def test_columns_may_swap_and_share_fields() -> None:
    swapped = parse_row(
        {"prompt": "a", "completion": "q"}, "Auto", {"prompt": "completion", "completion": "prompt"}
    )
    shared = parse_row({"x": "both"}, "PromptCompletion", {"prompt": "x", "completion": "x"})

    assert (swapped.question, swapped.answer) == ("q", "a")
    assert (shared.question, shared.answer) == ("both", "both")


@pytest.mark.parametrize(
    ("columns", "want"),
    [
        ({"prompt": "query"}, "the column 'query' is missing, which columns.prompt names"),
        ({"reply": "prompt"}, "columns names the field 'reply'; it may name prompt, completion"),
    ],
)
def test_columns_that_name_nothing_are_refused(columns: dict[str, str], want: str) -> None:
    with pytest.raises(RowError) as raised:
        parse_row({"prompt": "a", "completion": "b"}, "PromptCompletion", columns)

    assert str(raised.value) == want


def test_fields_of_no_format_are_answered_with_all_formats_and_columns() -> None:
    with pytest.raises(RowError, match=r"^the fields 'frage' fit no format$"):
        detect_format({"frage": "a"})

    bad = BadRows()
    told = [f"line {line}: the fields 'frage' fit no format" for line in (1, 2, 3)]
    bad.add(3, told, remedies=[NoFormatError.remedy])
    with pytest.raises(UserError) as raised:
        bad.require_few(0, rows=4, formats=["Auto"])
    assert "rename fields with columns" in raised.value.message
    assert all(raised.value.message.count(f"{name} (") == 1 for name in FORMATS)
    assert "LabelStudio (annotations, data)" in raised.value.message
    assert len(raised.value.message) < 768, "nothing of it is cut off in an event"


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (
            {"***": "a", "my password hunter2pw": "b", "frage": "c"},
            "'frage', 2 whose names look like content",
        ),
        ({"anna@example.org": "a"}, "the fields 1 whose name looks like content fit no format"),
        ({"x" * 31: "a"}, "the fields 1 whose name looks"),
        ({f"f{number}": "a" for number in range(12)}, "'f9', ... fit no format"),
        ({"data": [{"prompt": "a"}]}, "if the rows are the objects in 'data', upload that list alone"),
    ],
)
def test_names_that_may_be_content_are_only_counted(value: dict[str, Any], want: str) -> None:
    with pytest.raises(RowError) as raised:
        detect_format(value)

    assert want in str(raised.value)
    assert "hunter2pw" not in str(raised.value)


@every_format
@pytest.mark.parametrize("objective", LEARNED_FORMATS)
def test_an_objective_learns_some_formats_and_refuses_the_others_with_a_way_out(
    name: DatasetFormat, objective: ObjectiveType
) -> None:
    row = parse_row(example(name), name)
    learned = LEARNED_FORMATS[objective]
    if name in learned:
        require_learnable(row, objective, vision=row.kind == "Vision")
        return
    with pytest.raises(UserError) as raised:
        require_learnable(row, objective, vision=row.kind == "Vision")
    assert raised.value.reason == "DatasetInvalid"
    assert f"objective.type is {objective}, which learns {learned[0]}" in raised.value.message
    others = [other for other, formats in LEARNED_FORMATS.items() if name in formats]
    assert "set objective.type to " in raised.value.message
    assert " or ".join(others) in raised.value.message


@every_format
@pytest.mark.parametrize("objective", LEARNED_FORMATS)
def test_a_dry_run_refuses_what_another_objective_learns_and_checks_rows_with_images(
    name: DatasetFormat, objective: ObjectiveType
) -> None:
    row = parse_row(example(name), name)
    others = [other for other, formats in LEARNED_FORMATS.items() if name in formats and other != objective]
    if name in LEARNED_FORMATS[objective] or row.kind == "Vision":
        require_learnable(row, objective, only_checked=True)
        return
    with pytest.raises(UserError) as raised:
        require_learnable(row, objective, only_checked=True)
    assert f"set objective.type to {' or '.join(others)}" in raised.value.message


def test_rows_with_images_for_a_model_of_text_say_what_to_set() -> None:
    row = parse_row(example("Vision"), "Vision")

    with pytest.raises(UserError, match=r"set modality to Vision, objective\.type to SFT") as raised:
        require_learnable(row, "SFT")

    assert raised.value.reason == "DatasetInvalid"


def test_text_rows_differ_by_their_text_and_others_by_their_prompt() -> None:
    one, other = (parse_row({"text": text}, "Text") for text in ("one", "other"))
    first, second = (parse_row({"prompt": "a", "completion": text}, "PromptCompletion") for text in "12")

    assert one.prompt_digest != other.prompt_digest
    assert first.prompt_digest == second.prompt_digest
    assert first.digest != second.digest


def test_the_digest_of_a_row_is_that_of_earlier_versions() -> None:
    row = parse_row({"prompt": "2+2?", "completion": "4"}, "PromptCompletion")

    assert row.digest.hex() == "b973fd82ed93ef6c47ec8a24235d225a060a6f9f7d59b34a47022e3df8a662d4"
    assert row.prompt_digest.hex() == "ed60fcb984823fb08a61e2746b42e912ddde6533dc3b26722334f7dac5e8038b"


@pytest.mark.parametrize(
    ("change", "field"),
    [({"label": False}, "label"), ({"completion": "Lyon"}, "answer")],
)
def test_what_a_row_teaches_is_part_of_its_identity(change: dict[str, Any], field: str) -> None:
    value = example("KTO")
    row, other = parse_row(value, "KTO"), parse_row(value | change, "KTO")

    assert row.digest != other.digest, field
    assert row.prompt_digest == other.prompt_digest
    assert row.digest != parse_row(value, "PromptCompletion").digest


# What may stand in a file, and names that let it pass the first checks.
CONVERSATION = ("messages", "conversations", "role", "content", "from", "value", "system")
PAIR = (
    "prompt",
    "completion",
    "chosen",
    "rejected",
    "label",
    "answer",
    "instruction",
    "input",
    "output",
    "response",
)
PART = ("text", "image", "images", "image_url", "url", "type", "id")
CALLED = ("tools", "tool_calls", "function", "name", "arguments")
NAMES = st.sampled_from([*CONVERSATION, *PAIR, *PART, *CALLED])
WORDS = st.sampled_from(
    ["user", "assistant", "system", "tool", "human", "gpt", "function_call", "text", "image", "a"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | WORDS
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=25,
)
ANY_FORMAT = st.sampled_from(get_args(DatasetFormat))
COLUMNS = st.none() | st.dictionaries(NAMES, NAMES, max_size=3)


@given(value=JSON, name=ANY_FORMAT, columns=COLUMNS)
def test_any_value_is_a_row_or_says_what_is_wrong(value: Any, name: DatasetFormat, columns: Any) -> None:
    hold(outcome(value, name, columns))


@given(data=st.data(), name=st.sampled_from(FORMATS))
def test_an_example_with_anything_in_it_is_a_row_or_says_what_is_wrong(
    data: Any, name: DatasetFormat
) -> None:
    hold(outcome(mutated(example(name), data), name))


def outcome(value: Any, name: DatasetFormat, columns: dict[str, str] | None = None) -> Row | RowError:
    """Return what comes of a value; any other exception is a failure of the test."""
    try:
        return parse_row(value, name, columns)
    except RowError as error:
        return error


def hold(found: Row | RowError) -> None:
    """Take everything of a row that its way through prepare takes; an error is short."""
    if isinstance(found, RowError):
        assert 0 < len(str(found)) < 2000
    else:
        used(found)


def used(row: Row) -> None:
    assert row.answer.strip()
    assert row.messages[-1]["role"] == "assistant"
    assert len(row.digest) == len(row.prompt_digest) == 32
    assert row.characters
    f"{row.question}{row.answer}{json.dumps(row.messages, ensure_ascii=False, allow_nan=False)}".encode()
    assert "\0" not in row.question + row.answer


def mutated(value: dict[str, Any], data: Any) -> dict[str, Any]:
    """Put some value in the place of one within another."""
    value = copy.deepcopy(value)
    place: Any = value
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            place[key] = data.draw(JSON)
            return value
        place = inner

"""Exports of Label Studio become rows: which annotation counts, which field is the prompt, which answer the completion.

`label_studio/export.json` was written by hand after Label Studio's task format (labelstud.io/guide/task_format), since the
converter hands tasks on as JSON unchanged. `export-min.json` is what the converter of label-studio-sdk 2.1.2, which Label
Studio exports with, made of it. Its four tasks have the interface `<Text name="question" value="$prompt"/>
<TextArea name="response" toName="question" maxSubmissions="1"/> <Choices name="tone" toName="question"
choice="multiple"/> <Rating name="rating" toName="question"/>`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelgarden_train.data.formats import detect_format, parse_row
from modelgarden_train.data.rows import EmptyAnswerError, Row, RowError

FOLDER = Path(__file__).with_name("label_studio")


def tasks(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def pair(row: Row) -> tuple[str, str]:
    return row.question, row.answer


def result(name: str, kind: str, **value: Any) -> dict[str, Any]:
    return {"from_name": name, "type": kind, "value": value}


def task(*results: dict[str, Any], data: dict[str, Any] | None = None, **annotation: Any) -> dict[str, Any]:
    return {"data": data or {"prompt": "q"}, "annotations": [{"result": list(results), **annotation}]}


ANSWER = result("answer", "textarea", text=["a"])


def test_of_several_annotations_the_ground_truth_counts_else_the_newest_that_was_not_cancelled() -> None:
    rows = [parse_row(one, "Auto") for one in tasks("export")[:3]]

    assert [pair(row) for row in rows] == [
        ("What is the capital of France?", "Paris"),
        ("What is 2 + 2?", "4"),
        ("Name a colour.", "Blue"),
    ]


def test_a_task_that_nobody_has_answered_is_a_row_without_an_answer() -> None:
    with pytest.raises(EmptyAnswerError, match="no annotation that was submitted and not cancelled"):
        parse_row(tasks("export")[3], "Auto")


def test_the_small_export_has_a_row_for_each_annotation() -> None:
    found = tasks("export-min")

    assert {detect_format(one) for one in found} == {"LabelStudio"}
    assert [pair(parse_row(one, "Auto", {"completion": "response"})) for one in found] == [
        ("What is the capital of France?", "Paris"),
        ("What is the capital of France?", "Lyon"),
        ("What is 2 + 2?", "5"),
        ("What is 2 + 2?", "4"),
        ("Name a colour.", "Blue"),
    ]


@pytest.mark.parametrize("export", ["export", "export-min"])
@pytest.mark.parametrize(
    ("control", "want"), [("tone", "formal, short"), ("rating", "4"), ("response", "Paris")]
)
def test_columns_name_the_answer(export: str, control: str, want: str) -> None:
    first = tasks(export)[0]
    if export == "export":
        first["annotations"] = first["annotations"][1:]

    row = parse_row(first, "LabelStudio", {"prompt": "prompt", "completion": control})

    assert pair(row) == ("What is the capital of France?", want)


def test_a_small_export_of_data_with_an_id_is_read_with_columns() -> None:
    value = {"id": 7, "ask": "q", "answer": "a", "annotator": 1, "annotation_id": 2}

    assert pair(parse_row(value, "Auto", {"prompt": "ask", "completion": "answer"})) == ("q", "a")
    with pytest.raises(RowError, match=r"columns\.prompt"):
        parse_row(value, "Auto")


def test_a_small_export_in_another_order_asks_for_both_names() -> None:
    value = {"annotator": 1, "id": 7, "question": "q", "reply": "a"}

    with pytest.raises(RowError, match=r"columns\.prompt and columns\.completion: 'question', 'reply'$"):
        parse_row(value, "LabelStudio")
    assert pair(parse_row(value, "LabelStudio", {"prompt": "question", "completion": "reply"})) == ("q", "a")


def test_the_only_text_of_the_data_is_the_prompt_and_what_is_written_goes_before_what_is_chosen() -> None:
    row = parse_row(
        task(ANSWER, result("tone", "choices", choices=["short"]), data={"question": "q", "number": 3}),
        "Auto",
    )

    assert pair(row) == ("q", "a")


def test_what_was_chosen_is_never_taken_for_a_text_that_was_not_written() -> None:
    with pytest.raises(EmptyAnswerError, match=r"columns\.completion.*'rating'"):
        parse_row(task(result("rating", "rating", rating=4)), "Auto")


@pytest.mark.parametrize("export", ["export", "export-min"])
def test_a_named_control_that_was_left_empty_is_a_row_without_an_answer(export: str) -> None:
    with pytest.raises(EmptyAnswerError, match="names 'other', which is not in the answers"):
        parse_row(tasks(export)[1], "LabelStudio", {"completion": "other"})


def test_the_prompt_may_be_a_conversation() -> None:
    data = {"chat": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]}

    row = parse_row(task(ANSWER, data=data), "Auto", {"prompt": "chat"})

    assert [message["role"] for message in row.messages] == ["system", "user", "assistant"]


@pytest.mark.parametrize(
    ("value", "columns", "want"),
    [
        (task(ANSWER, result("other", "textarea", text=["b"])), {}, "name it with columns.completion"),
        (task(ANSWER, data={"one": "q", "other": "q"}), {}, "name it with columns.prompt: 'one', 'other'"),
        (task(ANSWER), {"completion": "reply"}, "names 'reply', which is not in the answers: 'answer'"),
        (task(ANSWER), {"prompt": "ask"}, "names 'ask', which is not in the task's data: 'prompt'"),
        (task(ANSWER), {"chosen": "ask"}, "it may name prompt, completion"),
        (task(result("answer", "textarea", text=["a", "b"])), {}, "has 2 texts"),
        (task(result("span", "labels", start=0, end=2, text="q", labels=["x"])), {}, "no text, choice"),
        ({"data": 3, "annotations": [{"result": [ANSWER]}]}, {}, '"data" must be an object'),
        ({"data": {}, "annotations": 3}, {}, '"annotations" must be a list'),
        (task(ANSWER, data={"prompt": 3}), {}, '"prompt" must be'),
        (task(ANSWER, was_cancelled=True), {}, "not cancelled"),
        ({"data": {}, "annotations": [3]}, {}, "must be an object"),
        ({"annotation_id": 1, "annotator": 2}, {}, "JSON_MIN"),
    ],
)
def test_what_is_not_plain_or_not_there_is_told(
    value: dict[str, Any], columns: dict[str, str], want: str
) -> None:
    with pytest.raises(RowError) as raised:
        parse_row(value, "Auto", columns)

    assert want in str(raised.value)

"""Tasks as Label Studio exports them (JSON and JSON_MIN), each as a prompt and the answer that people gave. Pure.

The prompt is a field of the task's data, the answer what was entered into one control of its labelling interface: a
TextArea, or Choices, a Rating or a Number. Which ones is plain where there is one of each; else `columns` names them.
What was chosen is an answer in JSON only where it is named: a text that was not written must not become a rating.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelgarden_train.data.formats.answers import prompt_of
from modelgarden_train.data.formats.fields import answer_of, list_of, listed, object_at, shown
from modelgarden_train.data.rows import Row, RowError, UnansweredError

FIELDS: Final = ("prompt", "completion")
_TEXT: Final = "textarea"
_ENTERED: Final[dict[str, str]] = {
    _TEXT: "text",
    "choices": "choices",
    "rating": "rating",
    "number": "number",
}
"""Types of results that are answers, and where each has what was entered."""
_AFTER_THE_ANSWERS: Final = "annotator"
"""JSON_MIN has the fields of the data first, then the task's id, then the answers, then who gave them and when."""
_OF_THE_TASK: Final = frozenset(("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time"))
"""What JSON_MIN has beside data and answers."""

Answers = dict[str, str]
"""By the name of the control."""


@dataclass(frozen=True)
class _Task:
    data: Mapping[str, Any]
    answers: Answers
    plain: tuple[str, ...]
    """Names of the answers that need not be named: those that were written; JSON_MIN does not tell, and has all."""


def label_studio_row(value: dict[str, Any], columns: Mapping[str, str]) -> Row:
    """Return the row of a task.

    Raises:
        UnansweredError: nobody has answered, or all who did have cancelled.
        RowError: it is no such task, or which of its fields are prompt and answer is not plain.
    """
    task = _whole(value) if "annotations" in value else _flat(value, columns)
    prompt = _prompt(task.data, columns)
    answer = _answer(task, columns)
    asked = prompt_of({"prompt": task.data[prompt]})
    return Row((*asked, {"role": "assistant", "content": answer_of(task.answers, answer)}))


def _whole(value: dict[str, Any]) -> _Task:
    """Read a task of the export JSON: with all annotations, of which one counts."""
    data = object_at(value.get("data"), "data")
    given = [object_at(one, "annotations[]") for one in list_of(value, "annotations")]
    done = [one for one in given if not one.get("was_cancelled") and one.get("result")]
    if not done:
        raise UnansweredError("the task has no annotation that was submitted and not cancelled")
    newest = max(done, key=_standing)
    found: dict[tuple[str, str], list[str]] = {}
    for one in list_of(newest, "result", at="annotations[]."):
        result = object_at(one, "annotations[].result[]")
        kind, name = result.get("type"), result.get("from_name")
        if isinstance(kind, str) and isinstance(name, str) and kind in _ENTERED:
            entered = object_at(result.get("value"), "annotations[].result[].value").get(_ENTERED[kind])
            found.setdefault((name, kind), []).extend(_strings(entered))
    return _Task(
        data,
        {name: _joined(name, strings, written=kind == _TEXT) for (name, kind), strings in found.items()},
        tuple(sorted(name for name, kind in found if kind == _TEXT)),
    )


def _standing(annotation: Mapping[str, Any]) -> tuple[bool, str]:
    """Return what decides which annotation of a task counts: the ground truth, else the newest."""
    changed = annotation.get("updated_at") or annotation.get("created_at") or ""
    return bool(annotation.get("ground_truth")), str(changed)


def _flat(value: dict[str, Any], columns: Mapping[str, str]) -> _Task:
    """Read a task of the export JSON_MIN: one annotation, its answers beside the data.

    Data with an id of its own has the task's in its place, so that what `columns` names is looked for in all fields.
    """
    names = list(value)
    if "id" not in names or _AFTER_THE_ANSWERS not in names:
        raise RowError("the fields id and annotator are missing, which Label Studio writes into JSON_MIN")
    middle, end = names.index("id"), names.index(_AFTER_THE_ANSWERS)
    asked, answered = names[:middle], names[middle + 1 : end]
    if not asked or middle > end:
        asked = answered = [name for name in names if name not in _OF_THE_TASK]
        if not columns.keys() >= set(FIELDS):
            raise RowError(
                "the order of the fields is not that of Label Studio, data before id and answers behind it; name prompt and "
                f"completion with columns.prompt and columns.completion: {listed(asked)}"
            )
    else:
        asked = names[:end] if "prompt" in columns else asked
        answered = names[:end] if "completion" in columns else answered
    answers: Answers = {}
    for name in answered:
        given = value[name]
        strings = _strings(_unwrapped(given))
        if strings:
            answers[name] = _joined(name, strings, written=isinstance(given, list) and given == strings)
    return _Task({name: value[name] for name in asked}, answers, plain=tuple(answers))


def _unwrapped(given: Any) -> Any:
    """Return what was entered: JSON_MIN writes a single text or choice bare, several and numbers as they were."""
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], dict):
        given = given[0]
    if not isinstance(given, dict):
        return given
    return next((given[key] for key in ("choices", "rating", "number") if given.keys() == {key}), None)


def _strings(entered: Any) -> list[str]:
    items = entered if isinstance(entered, list) else [entered]
    return [str(item) for item in items if isinstance(item, str | int | float) and not isinstance(item, bool)]


def _joined(name: str, strings: list[str], *, written: bool) -> str:
    if written and len(strings) > 1:
        raise RowError(
            f"the answer {shown(name)} has {len(strings)} texts; leave one (maxSubmissions of the TextArea is 1 then)"
        )
    return ", ".join(strings)


def _prompt(data: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    """Return the field of the data that is the prompt, `prompt` where there is one."""
    if named := columns.get("prompt"):
        if named not in data:
            raise RowError(_absent("prompt", named, data, of="the task's data"))
        return named
    if "prompt" in data:
        return "prompt"
    texts = [name for name, item in data.items() if isinstance(item, str) and item.strip()]
    if len(texts) != 1:
        raise RowError(_not_plain("prompt", data, of="the task's data"))
    return texts[0]


def _answer(task: _Task, columns: Mapping[str, str]) -> str:
    """Return the name of the answer.

    Raises:
        UnansweredError: it was not given; of one task, a control left empty and a name mistyped look the same.
        RowError: which one it is is not plain.
    """
    if named := columns.get("completion"):
        if named not in task.answers:
            raise UnansweredError(_absent("completion", named, task.answers, of="the answers"))
        return named
    if not task.answers:
        raise UnansweredError("the annotation has no text, choice, rating or number")
    if not task.plain:
        raise UnansweredError(
            "no text was written; where the answer is what was chosen, name its control with columns.completion: "
            f"{listed(task.answers)}"
        )
    if len(task.plain) > 1:
        raise RowError(_not_plain("completion", task.answers, of="the answers"))
    return task.plain[0]


def _absent(field: str, named: str, given: Mapping[str, Any], *, of: str) -> str:
    return f"columns.{field} names {shown(named)}, which is not in {of}: {listed(given)}"


def _not_plain(field: str, given: Mapping[str, Any], *, of: str) -> str:
    return f"which of {of} is the {field} is not plain; name it with columns.{field}: {listed(given)}"

"""The formats of a dataset's rows: which one a row has, and the row that it means. Pure.

Whatever the format, a row ends with the answer; all before it is the prompt. Docs: docs/datasets.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelgarden.api.finetunejob import DatasetFormat
from modelgarden_train.data.formats.answers import (
    alpaca_row,
    instruction_response_row,
    kto_row,
    prompt_answer_row,
    prompt_completion_row,
    text_row,
)
from modelgarden_train.data.formats.fields import listed, shown
from modelgarden_train.data.formats.label_studio import FIELDS, label_studio_row
from modelgarden_train.data.formats.messages import messages_row
from modelgarden_train.data.formats.preference import preference_row
from modelgarden_train.data.formats.sharegpt import sharegpt_row
from modelgarden_train.data.formats.vision import vision_row
from modelgarden_train.data.rows import Row, RowError
from modelgarden_train.data.values import type_name

Columns = Mapping[str, str]
"""The row's field for fields of a format."""


@dataclass(frozen=True)
class _Format:
    read: Callable[[dict[str, Any], Columns], Row]
    fields: tuple[str, ...]
    """That a row of it may have."""
    told_by: tuple[frozenset[str], ...]
    """Fields of which a row has one group wholly, if it is of this format."""
    example: str
    nested: bool = False
    """Its columns name fields that lie deeper in a row, so that none of the row's own is renamed."""


def _flat(read: Callable[[dict[str, Any]], Row]) -> Callable[[dict[str, Any], Columns], Row]:
    """Return what reads a row whose own fields the columns name."""
    return lambda value, columns: read(_renamed(value, columns))


def _told(*groups: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(group.split()) for group in groups)


_FORMATS: Final[dict[DatasetFormat, _Format]] = {
    "LabelStudio": _Format(
        label_studio_row,
        FIELDS,
        _told("annotations data", "annotation_id annotator"),
        '{"data": {"prompt": "What is the capital of France?"}, "annotations": [{"result": [{"from_name": "answer", '
        '"type": "textarea", "value": {"text": ["Paris"]}}]}]}',
        nested=True,
    ),
    "Preference": _Format(
        _flat(preference_row),
        ("prompt", "chosen", "rejected", "tools"),
        _told("chosen", "rejected"),
        '{"prompt": "What is the capital of France?", "chosen": "Paris", "rejected": "Lyon"}',
    ),
    "Messages": _Format(
        _flat(messages_row),
        ("messages", "tools", "images"),
        _told("messages"),
        '{"messages": [{"role": "user", "content": "What is the capital of France?"}, '
        '{"role": "assistant", "content": "Paris"}]}',
    ),
    "ShareGPT": _Format(
        _flat(sharegpt_row),
        ("conversations", "system", "tools", "image", "images"),
        _told("conversations"),
        '{"conversations": [{"from": "human", "value": "What is the capital of France?"}, '
        '{"from": "gpt", "value": "Paris"}]}',
    ),
    "Vision": _Format(
        _flat(vision_row),
        ("image", "images", "text", "response"),
        _told("image", "images"),
        '{"image": "images/1.png", "text": "What is this?", "response": "A cat"}',
    ),
    "InstructionResponse": _Format(
        _flat(instruction_response_row),
        ("instruction", "response"),
        _told("instruction response"),
        '{"instruction": "What is the capital of France?", "response": "Paris"}',
    ),
    "Alpaca": _Format(
        _flat(alpaca_row),
        ("instruction", "input", "output"),
        _told("instruction"),
        '{"instruction": "Translate to French.", "input": "Good day", "output": "Bonjour"}',
    ),
    "KTO": _Format(
        _flat(kto_row),
        ("prompt", "completion", "label"),
        _told("prompt completion label"),
        '{"prompt": "What is the capital of France?", "completion": "Paris", "label": true}',
    ),
    "PromptAnswer": _Format(
        _flat(prompt_answer_row),
        ("prompt", "answer"),
        _told("prompt answer"),
        '{"prompt": "What is 2 + 2?", "answer": "4"}',
    ),
    "PromptCompletion": _Format(
        _flat(prompt_completion_row),
        ("prompt", "completion"),
        _told("prompt", "completion"),
        '{"prompt": "What is the capital of France?", "completion": "Paris"}',
    ),
    "Text": _Format(_flat(text_row), ("text",), _told("text"), '{"text": "Paris is the capital of France."}'),
}
"""In the order in which they are tried."""

EXAMPLES: Final[dict[DatasetFormat, str]] = {name: one.example for name, one in _FORMATS.items()}
_TOLD: Final = ", ".join(
    f"{name} ({', '.join(sorted(one.told_by[0]) if one.nested else one.fields)})"
    for name, one in _FORMATS.items()
)


class NoFormatError(RowError):
    """A row has the fields of no format."""

    remedy = (
        f"rename fields with columns, or use those of one format (the first row of a CSV names them): {_TOLD}"
    )


def detect_format(value: dict[str, Any], columns: Columns | None = None) -> DatasetFormat:
    """Return the format of a row by the names of its fields.

    Raises:
        NoFormatError: it has the fields of none.
        RowError: a column is missing.
    """
    value = _as_object(value)
    if (nested := _told_by_fields(value, nested=True)) is not None:
        return nested
    value = _renamed(value, columns or {})
    if (flat := _told_by_fields(value, nested=False)) is not None:
        return flat
    raise NoFormatError(f"the fields {listed(value)} fit no format{_wrapped(value)}")


def parse_row(
    value: dict[str, Any],
    format: DatasetFormat,  # noqa: A002 -- the field's name in the API
    columns: Columns | None = None,
) -> Row:
    """Return the row that a JSON object means; `columns` names the object's field for each field of the format.

    With Auto the object's own fields say which format it has.

    Raises:
        RowError: a field is missing, empty or of the wrong type.
    """
    given, columns = _as_object(value), columns or {}
    known = _FORMATS[detect_format(given, columns) if format == "Auto" else format]
    for field in columns:
        if field not in known.fields:
            raise RowError(f"columns names the field {shown(field)}; it may name {', '.join(known.fields)}")
    return known.read(given, columns)


def _wrapped(value: dict[str, Any]) -> str:
    """Return what to do about rows that lie together in one field of an object."""
    for name, items in value.items():
        if len(value) == 1 and isinstance(items, list) and items and isinstance(items[0], dict):
            return f"; if the rows are the objects in {listed([name])}, upload that list alone"
    return ""


def _told_by_fields(value: dict[str, Any], *, nested: bool) -> DatasetFormat | None:
    """Return the first format that has all of a group of a row's fields, of those that are nested or of the others."""
    for name, known in _FORMATS.items():
        if known.nested == nested and any(group <= value.keys() for group in known.told_by):
            return name
    return None


def _as_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RowError(f"a JSON object is expected, found {type_name(value)}")
    return value


def _renamed(value: dict[str, Any], columns: Columns) -> dict[str, Any]:
    """Return a row with its fields under the names that the formats have for them."""
    if not columns:
        return value
    for field, column in columns.items():
        if column not in value:
            raise RowError(f"the column {shown(column)} is missing, which columns.{field} names")
    taken = set(columns.values())
    kept = {name: item for name, item in value.items() if name not in taken}
    return {**kept, **{field: value[column] for field, column in columns.items()}}

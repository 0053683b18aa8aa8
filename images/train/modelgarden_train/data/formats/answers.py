"""Rows of a few texts: a question and its answer under several names, and a text of its own. Pure."""

from __future__ import annotations

from typing import Any, Final

from modelgarden_train.data.formats.fields import answer_of, required, text_of, whole_text_of
from modelgarden_train.data.formats.messages import check_prompt_turns, messages_at
from modelgarden_train.data.rows import EmptyAnswerError, Kind, Message, Row, RowError
from modelgarden_train.data.values import type_name

_LABELS: Final = {"true": True, "1": True, "false": False, "0": False}
"""Texts that are labels, in lower case."""


def prompt_completion_row(value: dict[str, Any]) -> Row:
    """Return a row of the format PromptCompletion.

    Raises:
        RowError: it is none.
    """
    return question_and_answer(text_of(value, "prompt"), answer_of(value, "completion"))


def alpaca_row(value: dict[str, Any]) -> Row:
    """Return a row of the format Alpaca: the input, where there is one, follows the instruction after an empty line.

    Raises:
        RowError: it is none.
    """
    question = text_of(value, "instruction")
    if value.get("input") is not None:
        given = whole_text_of(value, "input")
        question = f"{question}\n\n{given}" if given.strip() else question
    return question_and_answer(question, answer_of(value, "output"))


def instruction_response_row(value: dict[str, Any]) -> Row:
    """Return a row of the format InstructionResponse.

    Raises:
        RowError: it is none.
    """
    return question_and_answer(text_of(value, "instruction"), answer_of(value, "response"))


def text_row(value: dict[str, Any]) -> Row:
    """Return a row of the format Text.

    Raises:
        RowError: it is none.
    """
    return Row(({"role": "assistant", "content": text_of(value, "text")},), kind="Text")


def prompt_answer_row(value: dict[str, Any]) -> Row:
    """Return a row of the format PromptAnswer.

    Raises:
        RowError: it is none.
    """
    answer = {"role": "assistant", "content": answer_of(value, "answer")}
    return Row((*prompt_of(value), answer), kind="PromptAnswer")


def kto_row(value: dict[str, Any]) -> Row:
    """Return a row of the format KTO.

    Raises:
        RowError: it is none.
    """
    messages = (*prompt_of(value), completion_of(value, "completion"))
    return Row(messages, kind="KTO", label=_label(required(value, "label")))


def _label(given: object) -> bool:
    """Return a label, which in a table is a text."""
    label = _LABELS.get(given.strip().lower()) if isinstance(given, str) else given
    if not isinstance(label, bool):
        found = "another text" if isinstance(given, str) else type_name(given)
        raise RowError(f'field "label" must be true or false, in a text also 1 or 0, found {found}')
    return label


def question_and_answer(question: str, answer: str, *, kind: Kind = "Conversation") -> Row:
    """Return a row of one question."""
    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Row(messages, kind=kind)


def prompt_of(value: dict[str, Any]) -> tuple[Message, ...]:
    """Return the field `prompt`, a text or a list of messages, as messages.

    Raises:
        RowError: it is neither, or the messages ask nothing.
    """
    if not isinstance(value.get("prompt"), list):
        return ({"role": "user", "content": text_of(value, "prompt")},)
    messages = text_messages(value["prompt"], "prompt")
    check_prompt_turns(messages, "prompt")
    if messages[-1]["role"] == "assistant":
        raise RowError('field "prompt" must not end with an answer')
    return messages


def completion_of(value: dict[str, Any], field: str) -> Message:
    """Return a field that is an answer, a text or a list of one message of the assistant, as a message.

    Raises:
        RowError: it is neither.
    """
    if not isinstance(value.get(field), list):
        return {"role": "assistant", "content": answer_of(value, field)}
    messages = text_messages(value[field], field)
    if not messages:
        raise EmptyAnswerError(f'field "{field}" is empty')
    if len(messages) > 1 or messages[0]["role"] != "assistant":
        raise RowError(f'field "{field}" must be one message of the role assistant')
    return messages[0]


def text_messages(values: list[Any], at: str) -> tuple[Message, ...]:
    """Return messages that have no images.

    Raises:
        RowError: one is no message, or has an image.
    """
    messages, images = messages_at(values, at)
    if images:
        raise RowError(f'field "{at}" has an image; only the formats Vision and Messages may')
    return messages

"""Pairs of answers of which one is better: for DPO and ORPO. Pure."""

from __future__ import annotations

from typing import Any

from modelgarden_train.data.formats.answers import completion_of, prompt_of, text_messages
from modelgarden_train.data.formats.messages import check_turns
from modelgarden_train.data.formats.tools import tools_of
from modelgarden_train.data.rows import Message, Row, RowError


def preference_row(value: dict[str, Any]) -> Row:
    """Return a row of the format Preference.

    `chosen` and `rejected` are texts, or lists of one message, beside a prompt; or two whole conversations that
    differ in their last answer, and then there is no prompt.

    Raises:
        RowError: it is none.
    """
    if "prompt" in value:
        prompt = prompt_of(value)
        chosen, rejected = completion_of(value, "chosen"), completion_of(value, "rejected")
    else:
        prompt, chosen, rejected = _implicit(value)
    if chosen == rejected:
        raise RowError('fields "chosen" and "rejected" are the same answer')
    return Row((*prompt, chosen), kind="Preference", rejected=rejected, tools=tools_of(value))


def _implicit(value: dict[str, Any]) -> tuple[tuple[Message, ...], Message, Message]:
    """Return the prompt that two conversations share, and their last messages."""
    conversations = []
    for field in ("chosen", "rejected"):
        if not isinstance(value.get(field), list):
            raise RowError(
                'field "prompt" is missing; without one, chosen and rejected are whole conversations'
            )
        messages = text_messages(value[field], field)
        check_turns(messages, field)
        conversations.append(messages)
    (*prompt, chosen), (*other, rejected) = conversations
    if prompt != other:
        raise RowError('fields "chosen" and "rejected" must be the same conversation but for the last answer')
    return tuple(prompt), chosen, rejected

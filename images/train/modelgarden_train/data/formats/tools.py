"""Tools that the assistant may call, and its calls, as OpenAI writes them: what templates are given. Pure."""

from __future__ import annotations

import json
from typing import Any

from modelgarden_train.data.formats.fields import json_at, object_at, text_of
from modelgarden_train.data.rows import RowError, Tool
from modelgarden_train.data.values import type_name


def tools_of(value: dict[str, Any]) -> tuple[Tool, ...]:
    """Return the tools of a row, from its optional field `tools`: a list, or the JSON text of one.

    A tool may stand without its wrapper, as {"name": ..., "description": ..., "parameters": ...}.

    Raises:
        RowError: it is no list of tools.
    """
    given = value.get("tools")
    if isinstance(given, str):
        given = parsed(given, "tools")
    if given is None or given == []:
        return ()
    if not isinstance(given, list):
        raise RowError(f'field "tools" must be a list, found {type_name(given)}')
    return tuple(_tool(tool, f"tools[{index}]") for index, tool in enumerate(given))


def _tool(value: Any, at: str) -> Tool:
    tool = object_at(value, at)
    function = tool
    if "function" in tool:
        at = f"{at}.function"
        function = object_at(tool["function"], at)
    text_of(function, "name", at=f"{at}.")
    return json_at({"type": "function", "function": function}, at)


def tool_calls_at(value: Any, at: str) -> list[dict[str, Any]]:
    """Return the calls of a message; arguments come as an object, or as the JSON text of one, which OpenAI writes.

    Templates are given the object, as serving gives it to them.

    Raises:
        RowError: it is no list of calls.
    """
    if not isinstance(value, list):
        raise RowError(f'field "{at}" must be a list, found {type_name(value)}')
    if not value:
        raise RowError(f'field "{at}" is empty; leave it out')
    return [tool_call_at(call, f"{at}[{index}]") for index, call in enumerate(value)]


def tool_call_at(value: Any, at: str) -> dict[str, Any]:
    """Return one call, which may stand without its wrapper, as {"name": ..., "arguments": ...}.

    Raises:
        RowError: it is none.
    """
    call = object_at(value, at)
    function, inner = call, at
    if "function" in call:
        inner = f"{at}.function"
        function = object_at(call["function"], inner)
    name = text_of(function, "name", at=f"{inner}.")
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        arguments = parsed(arguments, f"{inner}.arguments")
    wrapped = {
        "name": name,
        "arguments": json_at(object_at(arguments, f"{inner}.arguments"), f"{inner}.arguments"),
    }
    identity = {"id": text_of(call, "id", at=f"{at}.")} if call.get("id") is not None else {}
    return {**identity, "type": "function", "function": wrapped}


def parsed(text: str, at: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        RowError: it is none.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise RowError(f'field "{at}" has lists or objects that are nested too deeply') from error
    except ValueError as error:
        raise RowError(f'field "{at}" must be JSON: {str(error)[:80]}') from error
    return json_at(value, at)

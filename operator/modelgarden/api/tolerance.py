"""Reading what another version wrote: what this version does not know or cannot read is left out, the rest is read.

Left out is the smallest thing that may be absent: a field with a default, or an entry of a map. An item of a list
never is, as the rest of a list would pass for the whole; the list goes, or what holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

Place = tuple[int | str, ...]
"""The way to a part of a JSON value from its top."""

T = TypeVar("T")

UNKNOWN_NAME: Final = "extra_forbidden"
_MISSING: Final = "missing"


def read_known(parse: Callable[[Any], T], value: Any) -> tuple[T, frozenset[Place]]:
    """Parse a JSON value without the names that the model does not have; return what was left out too.

    Raises:
        pydantic.ValidationError: a field is missing or cannot be read.
    """
    return _read(parse, value, lambda fault: fault["loc"] if fault["type"] == UNKNOWN_NAME else ())


def read_readable(parse: Callable[[Any], T], value: Any) -> tuple[T, frozenset[Place]]:
    """Parse a JSON value without what the model does not have or cannot read; return what was left out too.

    Raises:
        pydantic.ValidationError: a field without a default is missing or cannot be read.
    """
    return _read(parse, value, lambda fault: _may_be_absent(fault, value))


def _read(
    parse: Callable[[Any], T], value: Any, place_of: Callable[[ErrorDetails], Place]
) -> tuple[T, frozenset[Place]]:
    left_out: frozenset[Place] = frozenset()
    while True:
        try:
            return parse(_without(value, left_out) if left_out else value), left_out
        except ValidationError as error:
            faults = _first_of_all_unknown(error.errors(include_url=False, include_context=False))
            places = {place_of(fault) for fault in faults}
            if () in places or places <= left_out:
                raise
            left_out |= places


def _first_of_all_unknown(faults: Iterable[ErrorDetails]) -> list[ErrorDetails]:
    """Return the faults to deal with now: unknown names cost nothing, and may be all that is wrong with an object."""
    found = list(faults)
    return [fault for fault in found if fault["type"] == UNKNOWN_NAME] or found


def _may_be_absent(fault: ErrorDetails, value: Any) -> Place:
    """Return the smallest part around a fault that may be absent, as far as the fault tells; () where there is none."""
    place = fault["loc"][:-1] if fault["type"] == _MISSING else _present(fault["loc"], value)
    while place and isinstance(place[-1], int):
        place = place[:-1]
    return place


def _present(place: Place, value: Any) -> Place:
    """Return the part of the way that is in the value: pydantic also names the choice of a union and `[key]`."""
    for depth, step in enumerate(place):
        match value, step:
            case Mapping(), _ if step in value:
                value = value[step]
            case list() | tuple(), int() if step < len(value):
                value = value[step]
            case _:
                return place[:depth]
    return place


def _without(value: Any, places: Set[Place], place: Place = ()) -> Any:
    """Return a JSON value without what stands at the places."""
    if isinstance(value, Mapping):
        kept = {key: item for key, item in value.items() if (*place, key) not in places}
        return {key: _without(item, places, (*place, key)) for key, item in kept.items()}
    if isinstance(value, list | tuple):
        return [_without(item, places, (*place, index)) for index, item in enumerate(value)]
    return value

"""Whether a child still is what was applied, or somebody else has changed it since. Pure.

A hash on the child tells what was applied; only a look at the child itself tells whether that still holds. As with every
server-side apply, what others add beside the applied fields stays theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from modelgarden.kube.quantity import in_units
from modelgarden.kube.resources import DEPLOYMENTS, SERVICES, resource_of

_REPAIRED: Final = (DEPLOYMENTS, SERVICES)
"""Of a Job nothing is: its template cannot change, and whether it is suspended is for queues such as Kueue to say."""
_ATOMIC: Final = frozenset({"selector", "nodeSelector"})
"""Maps that the API server replaces as a whole."""
_QUANTITIES: Final = frozenset({"requests", "limits"})
_EMPTY: Final[tuple[object, ...]] = (None, "", False, [])
"""What the API server leaves out."""


def drifted(desired: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    """Tell whether a field that was applied has another value now, or is gone."""
    if resource_of(desired) not in _REPAIRED:
        return False
    labels = desired["metadata"].get("labels", {})
    return not (
        _holds(labels, live["metadata"].get("labels", {})) and _holds(desired["spec"], live.get("spec", {}))
    )


def _holds(desired: Any, live: Any) -> bool:
    if isinstance(desired, Mapping):
        return isinstance(live, Mapping) and all(
            _field_holds(name, value, live) for name, value in desired.items()
        )
    if isinstance(desired, list):
        return isinstance(live, list) and _entries_hold(desired, live)
    return bool(desired == live)


def _field_holds(name: str, desired: Any, live: Mapping[str, Any]) -> bool:
    if name not in live:
        return desired in _EMPTY
    if name in _QUANTITIES:
        return _amounts(desired).items() <= _amounts(live[name]).items()
    if name in _ATOMIC:
        return bool(desired == live[name])
    return _holds(desired, live[name])


def _amounts(quantities: Mapping[str, int | str]) -> dict[str, Any]:
    """Return quantities as numbers: the API server writes 1000m as 1."""
    return {name: in_units(value) for name, value in quantities.items()}


def _entries_hold(desired: Sequence[Any], live: Sequence[Any]) -> bool:
    """Compare lists: of named entries by name, as others may add some; any other one as a whole."""
    key = _key(desired)
    if key is None:
        return len(desired) == len(live) and all(map(_holds, desired, live))
    found = {entry.get(key): entry for entry in live}
    return all(entry[key] in found and _holds(entry, found[entry[key]]) for entry in desired)


def _key(entries: Sequence[Any]) -> str | None:
    """Return the field that tells the entries of a list apart, as in the API's merge keys."""
    for key in ("mountPath", "name"):
        if entries and all(isinstance(entry, Mapping) and key in entry for entry in entries):
            return key
    return None

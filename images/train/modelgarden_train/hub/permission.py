"""Whether a token may write to a repository, by what the hub says of it. Pure.

`GET /api/whoami-v2` tells whose the token is, of which organisations, and what it is for: `read`, `write`, or
`fineGrained` with the rights that it has on users, organisations and single repositories
(https://huggingface.co/docs/hub/security-tokens). What another server leaves out is no refusal: it is asked when it counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_WRITE: Final = "repo.write"
_READERS: Final = frozenset({"read", "no_access"})
"""Roles in an organisation that write nothing."""


def missing_right(whoami: Mapping[str, Any], repository: str) -> str | None:
    """Return what keeps the token from writing to org/name and what to do about it, None where nothing is known to."""
    owner = repository.partition("/")[0]
    access = _mapping(_mapping(whoami.get("auth")).get("accessToken"))
    role, name = access.get("role"), str(whoami.get("name") or "somebody")
    if role == "read":
        return f"the token of {name} only reads; make one that may write to repositories of {owner}"
    if owner.lower() != name.lower():
        refused = _of_the_organisation(whoami, owner, name)
        if refused is not None:
            return refused
    scopes = _mapping(access.get("fineGrained")).get("scoped")
    if role == "fineGrained" and isinstance(scopes, list) and not _may_write(scopes, repository):
        return (
            f"the fine-grained token of {name} may not write to {repository}; give it write access to the repositories of "
            f"{owner}"
        )
    return None


def _of_the_organisation(whoami: Mapping[str, Any], owner: str, name: str) -> str | None:
    organisations = whoami.get("orgs")
    if not isinstance(organisations, list):
        return None
    own = (one for one in map(_mapping, organisations) if str(one.get("name", "")).lower() == owner.lower())
    found = next(own, None)
    if found is None:
        return f"the token is of {name}, who is no member of {owner}; take a token of a member, or another repository"
    if found.get("roleInOrg") in _READERS:
        return f"the token is of {name}, who only reads in {owner}; have the role write given there, or take another token"
    return None


def _may_write(scopes: list[Any], repository: str) -> bool:
    """Tell whether one of a fine-grained token's scopes lets it write to the repository."""
    owner = repository.partition("/")[0].lower()
    return any(
        _WRITE in permissions
        and (kind, name) in {("user", owner), ("org", owner), ("model", repository.lower())}
        for kind, name, permissions in _scopes(scopes)
    )


def _scopes(scopes: list[Any]) -> Iterator[tuple[str, str, frozenset[str]]]:
    for scope in map(_mapping, scopes):
        entity, permissions = _mapping(scope.get("entity")), scope.get("permissions")
        if isinstance(permissions, list):
            yield (
                str(entity.get("type")),
                str(entity.get("name", "")).lower(),
                frozenset(map(str, permissions)),
            )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

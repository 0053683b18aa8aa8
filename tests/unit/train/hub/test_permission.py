"""What the hub says of a token, and whether that is enough to publish."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden_train.hub.permission import missing_right


def whoami(role: str | None, *, orgs: Any = (), scoped: Any = None) -> dict[str, Any]:
    access = {"role": role, **({"fineGrained": {"scoped": scoped}} if scoped is not None else {})}
    return {"name": "ada", "orgs": list(orgs), "auth": {"accessToken": access}}


def scope(kind: str, name: str, *permissions: str) -> dict[str, Any]:
    return {"entity": {"type": kind, "name": name}, "permissions": list(permissions)}


MEMBER = {"name": "Garden", "roleInOrg": "contributor"}
READER = {"name": "garden", "roleInOrg": "read"}
READS = scope("org", "garden", "repo.content.read")


@pytest.mark.parametrize(
    ("said", "repository"),
    [
        (whoami("write"), "ada/bot"),
        (whoami("write"), "Ada/bot"),
        (whoami("write", orgs=[MEMBER]), "garden/bot"),
        (whoami("fineGrained", scoped=[scope("user", "ada", "repo.write")]), "ada/bot"),
        (whoami("fineGrained", orgs=[MEMBER], scoped=[READS, scope("org", "garden", "repo.write")]), "garden/bot"),
        (whoami("fineGrained", orgs=[MEMBER], scoped=[scope("model", "garden/bot", "repo.write")]), "garden/bot"),
        ({}, "garden/bot"),
        ({"name": "ada", "auth": {"accessToken": "?"}, "orgs": "?"}, "garden/bot"),
        (whoami(None), "ada/bot"),
        ({"name": "ada", "auth": {"accessToken": {"role": "fineGrained"}}}, "ada/bot"),
    ],
    ids=[
        "write", "in another spelling", "of a member", "fine-grained for itself", "fine-grained for the organisation",
        "fine-grained for the repository", "another server", "nothing of a known form", "no role", "no scopes told",
    ],
)  # fmt: skip
def test_a_token_that_may_or_of_which_nothing_else_is_known(said: dict[str, Any], repository: str) -> None:
    assert missing_right(said, repository) is None


@pytest.mark.parametrize(
    ("said", "repository", "want"),
    [
        (whoami("read"), "ada/bot", "only reads"),
        (whoami("write"), "garden/bot", "no member of garden"),
        (whoami("write", orgs=[READER]), "garden/bot", "who only reads in garden"),
        (whoami("fineGrained", scoped=[]), "ada/bot", "give it write access to the repositories of ada"),
        (whoami("fineGrained", orgs=[MEMBER], scoped=[READS]), "garden/bot", "may not write to garden/bot"),
        (
            whoami("fineGrained", orgs=[MEMBER], scoped=[scope("model", "garden/other", "repo.write")]),
            "garden/bot", "may not write to garden/bot",
        ),
        (whoami("fineGrained", scoped=["?", scope("user", "eve", "repo.write")]), "ada/bot", "may not write"),
    ],
    ids=[
        "read", "of no member", "of a reader", "fine-grained for nothing", "fine-grained for reading",
        "for another repository", "for somebody else",
    ],
)  # fmt: skip
def test_a_token_without_rights_is_refused_with_what_to_do(
    said: dict[str, Any], repository: str, want: str
) -> None:
    refused = missing_right(said, repository)

    assert refused is not None
    assert want in refused

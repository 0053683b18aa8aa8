"""A model hub that is written to: whose a token is, new repositories, uploads of large files, and commits.

The part of the Hugging Face hub's API that huggingface_hub publishes with. Large files go to another host by the protocol
of Git LFS (https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.integration.hub_server import Handler, Hub, Repository, serve_hub

LARGE = (".safetensors", ".bin", ".gguf")


@dataclass(frozen=True)
class Account:
    """Whose a token is, and what for."""

    name: str
    role: str = "write"
    orgs: Mapping[str, str] = field(default_factory=dict)
    """Role in each organisation."""
    scoped: tuple[Mapping[str, Any], ...] = ()
    """Of a fine-grained token."""
    writes: bool = True
    """Whether the hub takes what it writes, whatever it says of itself."""

    def whoami(self) -> dict[str, Any]:
        """Return what the hub tells about it."""
        access: dict[str, Any] = {"displayName": "token", "role": self.role}
        if self.role == "fineGrained":
            access["fineGrained"] = {"global": [], "scoped": list(self.scoped)}
        return {
            "type": "user",
            "name": self.name,
            "orgs": [{"type": "org", "name": name, "roleInOrg": role} for name, role in self.orgs.items()],
            "auth": {"type": "access_token", "accessToken": access},
        }

    def may_write(self, repository: str) -> bool:
        """Tell whether the hub takes a commit of it."""
        owner = repository.partition("/")[0]
        own = owner == self.name or self.orgs.get(owner) in ("write", "admin", "contributor")
        return self.writes and own and self.role != "read"


@dataclass(frozen=True)
class Commit:
    """One commit as it was sent."""

    repository: str
    oid: str
    summary: str
    description: str
    changed: tuple[str, ...]
    deleted: tuple[str, ...]


class WritableHub(Hub):
    """A hub with accounts."""

    def __init__(self) -> None:
        super().__init__()
        self.accounts: dict[str, Account] = {}
        self.large: dict[str, bytes] = {}
        """Large files by their SHA-256."""
        self.commits: list[Commit] = []
        self.ignored: set[str] = set()
        """Names that a .gitignore leaves out."""
        self.races = 0
        """Commits still to come before which somebody else commits."""

    def open_account(self, token: str, account: Account) -> None:
        """Have a token mean an account."""
        self.accounts[token] = account
        self.tokens.add(token)

    def files(self, repository: str) -> dict[str, bytes]:
        """Return what a repository holds."""
        found = self.repositories[repository]
        return found.commits[found.refs["main"]]


class _Writing(Handler):
    hub: WritableHub

    def takes(self, path: str) -> bool:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) if self._sends() else b""
        if path.startswith("/lfs/"):
            self._store(path.removeprefix("/lfs/"), body)
            return True
        account = self.hub.accounts.get(self._token())
        parts = path.strip("/").split("/")
        match parts:
            case ["api", "whoami-v2"] if account is not None:
                self._json(account.whoami())
            case ["api", "validate-yaml"]:
                self._validate(json.loads(body)["content"])
            case ["api", "repos", "create"] if account is not None:
                self._create(account, json.loads(body))
            case ["api", "models", org, name, "auth-check", "write"]:
                self._check(account, f"{org}/{name}")
            case ["api", "models", org, name, "preupload", revision]:
                self._preupload(account, f"{org}/{name}", revision, json.loads(body))
            case ["api", "models", org, name, "commit", revision]:
                self._commit(account, f"{org}/{name}", revision, body)
            case [org, name, "info", "lfs", "objects", "batch"]:
                self._batch(account, f"{org}/{name.removesuffix('.git')}", json.loads(body))
            case _:
                return False
        return True

    def _sends(self) -> bool:
        return self.command in ("POST", "PUT")

    def _allowed(self, account: Account | None, repository: str) -> bool:
        if repository not in self.hub.repositories:
            self._refuse(404, code="RepoNotFound", message="Repository not found")
            return False
        if account is None or not account.may_write(repository):
            self._refuse(403, message="You don't have the rights to write to this repository")
            return False
        return True

    def _check(self, account: Account | None, repository: str) -> None:
        if self._allowed(account, repository):
            self._json({})

    def _validate(self, content: str) -> None:
        try:
            metadata = yaml.safe_load(content.split("---\n")[1])
        except (IndexError, yaml.YAMLError) as error:
            self._answer_with(400, {"errors": [{"message": str(error)}]})
            return
        errors = [] if isinstance(metadata, dict) else [{"message": "no metadata"}]
        self._answer_with(400 if errors else 200, {"errors": errors, "warnings": []})

    def _create(self, account: Account, asked: Mapping[str, Any]) -> None:
        repository = f"{asked.get('organization') or account.name}/{asked['name']}"
        if not account.may_write(repository):
            self._refuse(403, message=f"You don't have the rights to create a model under {repository}")
        elif repository in self.hub.repositories:
            self._answer_with(409, {"error": "You already created this model repo", "url": repository})
        else:
            made = Repository(private=asked.get("visibility") == "private")
            made.commit({".gitattributes": b"*.safetensors filter=lfs\n"})
            self.hub.repositories[repository] = made
            self._json({"url": f"{self.hub.endpoint}/{repository}", "name": repository})

    def _preupload(
        self, account: Account | None, repository: str, revision: str, asked: Mapping[str, Any]
    ) -> None:
        if not self._allowed(account, repository):
            return
        there = self._files(repository, revision)
        self._json({
            "files": [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if _is_large(one["path"]) else "regular",
                    "shouldIgnore": one["path"] in self.hub.ignored,
                    "oid": _oid(one["path"], there[one["path"]]) if one["path"] in there else None,
                }
                for one in asked["files"]
            ]
        })  # fmt: skip

    def _batch(self, account: Account | None, repository: str, asked: Mapping[str, Any]) -> None:
        if not self._allowed(account, repository):
            return
        place = f"http://localhost:{self.hub.address[1]}/lfs"
        self._json({
            "transfer": "basic",
            "objects": [
                one if one["oid"] in self.hub.large
                else {**one, "actions": {"upload": {"href": f"{place}/{one['oid']}?Signature=canary"}}}
                for one in asked["objects"]
            ],
        })  # fmt: skip

    def _store(self, oid: str, body: bytes) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            self._refuse(400, message="SHA-256 mismatch")
            return
        self.hub.large[oid] = body
        self._head(200, 0, {})

    def _commit(self, account: Account | None, repository: str, revision: str, body: bytes) -> None:
        if not self._allowed(account, repository):
            return
        lines = [json.loads(line) for line in body.splitlines() if line]
        header, operations = lines[0]["value"], lines[1:]
        found = self.hub.repositories[repository]
        if self.hub.races:
            self.hub.races -= 1
            found.commit(
                {**self._files(repository, revision), "from-somebody-else.txt": b"hello"}, ref=revision
            )
        if header.get("parentCommit") not in (None, found.refs[revision]):
            self._refuse(412, message="A commit has happened since. Please refresh and try again.")
            return
        files = dict(self._files(repository, revision))
        changed, deleted = [], []
        for operation in operations:
            value, path = operation["value"], operation["value"]["path"]
            if operation["key"] == "deletedFile":
                del files[path]
                deleted.append(path)
                continue
            large = operation["key"] == "lfsFile"
            files[path] = self.hub.large[value["oid"]] if large else base64.b64decode(value["content"])
            changed.append(path)
        oid = found.commit(files, ref=revision)
        with self.hub.lock:
            self.hub.commits.append(
                Commit(
                    repository, oid, header["summary"], header["description"], tuple(changed), tuple(deleted)
                )
            )
        self._json({
            "success": True, "commitOid": oid, "commitUrl": f"{self.hub.endpoint}/{repository}/commit/{oid}",
            "hookOutput": "",
        })  # fmt: skip

    def _files(self, repository: str, revision: str) -> dict[str, bytes]:
        found = self.hub.repositories[repository]
        return found.commits[found.refs[revision]]

    def _answer_with(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self._head(status, len(body), {"Content-Type": "application/json"})
        self.wfile.write(body)


def _is_large(name: str) -> bool:
    return name.endswith(LARGE)


def _oid(name: str, content: bytes) -> str:
    if _is_large(name):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


@contextmanager
def serve_writable_hub() -> Iterator[WritableHub]:
    """Serve an empty hub that can be written to."""
    hub = WritableHub()
    with serve_hub(hub, _Writing):
        yield hub

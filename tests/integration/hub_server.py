"""A model hub in a thread: the part of the Hugging Face hub's HTTP API that a download asks for, and its faults.

Weights come from another host (localhost, where the API is 127.0.0.1), as the hub hands them to a CDN.
API: https://huggingface.co/docs/hub/api; error codes: huggingface_hub.utils.hf_raise_for_status.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlparse

CHUNK = 64 * 1024
DATASETS = "datasets/"
"""Begins the names of the repositories that are datasets."""


@dataclass
class Repository:
    """A model's or a dataset's commits by their SHA-1, and the branches and tags that name one."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    """Seen by everyone, its files are for `Hub.granted` only."""
    private: bool = False
    card: dict[str, object] = field(default_factory=dict)
    """Metadata of its model card."""

    def commit(self, files: Mapping[str, bytes], *, ref: str = "main") -> str:
        """Add a commit, let the branch or tag name it and return its SHA-1."""
        content = b"".join(f"{name}\0".encode() + files[name] for name in sorted(files))
        sha = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        self.commits[sha] = dict(files)
        self.refs[ref] = sha
        return sha

    def find(self, revision: str) -> str | None:
        """Return the commit that a branch, tag or SHA-1 means."""
        return self.refs.get(revision) or (revision if revision in self.commits else None)


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Named as in RFC 9110, whatever the client's spelling."""


class Hub:
    """What the hub has, what goes wrong at the moment and what it was asked; a test may change it at any time."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.tokens: set[str] = set()
        """Every other token is refused."""
        self.granted: set[str] = set()
        """Tokens whose owners accepted the terms of the gated models."""
        self.forbidden: set[str] = set()
        """Tokens that may not read files, as fine-grained ones can be."""
        self.unavailable: dict[str, int] = {}
        """Answers of 503 still to come, by a part of the path."""
        self.stalled: dict[str, int] = {}
        """Requests still to come that are never answered, by a part of the path."""
        self.quotes = False
        """Refusals quote the token, as a library or a proxy may."""
        self.cuts: dict[str, list[int]] = {}
        """Bytes after which the next answers are cut, by the file's name."""
        self.asked: list[Asked] = []
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.address = ("", 0)

    @property
    def endpoint(self) -> str:
        """The value of HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.address[1]}"

    @property
    def cdn(self) -> str:
        """Where the weights lie."""
        return f"http://localhost:{self.address[1]}/cdn"

    def requests(self, part: str = "") -> list[Asked]:
        """Return the requests so far whose path holds the part."""
        with self.lock:
            return [asked for asked in self.asked if part in asked.path]

    def takes(self, fault: dict[str, int], path: str) -> bool:
        """Tell whether this request is one of those that a fault is planned for."""
        with self.lock:
            for part, left in fault.items():
                if part in path and left > 0:
                    fault[part] = left - 1
                    return True
        return False

    def cut(self, name: str) -> int | None:
        """Return after how many bytes this answer breaks off, None where it does not."""
        with self.lock:
            planned = self.cuts.get(name)
            return planned.pop(0) if planned else None


class Handler(BaseHTTPRequestHandler):
    """Answers what a download asks for."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name that the base class gives it
        """Keep quiet: the hub lists what it was asked."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlparse(self.path).path)
        with self.hub.lock:
            headers = {name.title(): value for name, value in self.headers.items()}
            self.hub.asked.append(Asked(self.command, path, headers))
        if self.hub.takes(self.hub.stalled, path):
            self.hub.ended.wait()
            self.close_connection = True
        elif self.hub.takes(self.hub.unavailable, path):
            self._refuse(503, message="Service Unavailable")
        elif self.takes(path):
            return
        elif path.startswith("/cdn/"):
            self._from_cdn(path.removeprefix("/cdn/"))
        elif self._token() and self._token() not in self.hub.tokens:
            self._refuse(401, message="Invalid credentials in Authorization header")
        elif path.startswith("/api/models/"):
            self._api(path.removeprefix("/api/models/"))
        elif path.startswith("/api/datasets/"):
            self._api(path.removeprefix("/api/datasets/"), prefix=DATASETS)
        elif "/resolve/" in path:
            self._resolve(path)
        else:
            self._refuse(404, message="Not Found")

    def takes(self, path: str) -> bool:
        """Answer what this kind of hub knows beside downloads; tell whether it was that."""
        return False

    def _token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _found(self, name: str, revision: str) -> tuple[Repository, str] | None:
        """Return the repository and the commit, or None after a refusal."""
        repository = self.hub.repositories.get(name)
        if repository is None:
            # To those without a token a private model and one that is missing look the same.
            self._refuse(404 if self._token() else 401, code="RepoNotFound", message="Repository not found")
            return None
        commit = repository.find(revision)
        if commit is None:
            self._refuse(404, code="RevisionNotFound", message=f"Invalid rev id: {revision}")
            return None
        return repository, commit

    def _api(self, rest: str, *, prefix: str = "") -> None:
        """/api/models/{org}/{name}[/revision/{revision} | /tree/{revision}], and the same of datasets"""
        organisation, name, *what = rest.split("/", 3)
        kind, revision = what if len(what) == 2 else ("revision", "main")
        found = self._found(f"{prefix}{organisation}/{name}", revision)
        if found is None:
            return
        repository, commit = found
        files = repository.commits[commit]
        if kind == "revision":
            self._json({
                "id": f"{organisation}/{name}",
                "sha": commit,
                "private": repository.private,
                "cardData": repository.card,
                "gated": "auto" if repository.gated else False,
                "tags": [],
                "siblings": [{"rfilename": path} for path in files],
            })  # fmt: skip
        elif parse_qs(urlparse(self.path).query).get("recursive") == ["true"]:
            self._json([_entry(path, content) for path, content in sorted(files.items())])
        else:
            self._refuse(400, message="only the whole tree is served")

    def _resolve(self, path: str) -> None:
        """/[datasets/]{org}/{name}/resolve/{revision}/{file}"""
        repository_name, _, rest = path.removeprefix("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        found = self._found(repository_name, revision)
        if found is None:
            return
        repository, commit = found
        if repository.gated and self._token() not in self.hub.granted:
            self._refuse(403 if self._token() else 401, code="GatedRepo", message="Access is restricted")
        elif self._token() in self.hub.forbidden:
            self._refuse(403, message="Please enable read access in your fine-grained token settings")
        elif (content := repository.commits[commit].get(name)) is None:
            self._refuse(404, code="EntryNotFound", message="Entry not found", commit=commit)
        elif _is_large(name):
            digest = hashlib.sha256(content).hexdigest()
            self._head(302, 0, {
                "Location": f"{self.hub.cdn}/{repository_name}/{commit}/{name}",
                "X-Repo-Commit": commit,
                "X-Linked-Etag": f'"{digest}"',
                "X-Linked-Size": str(len(content)),
            })  # fmt: skip
        else:
            self._content(name, content, {"X-Repo-Commit": commit, "ETag": f'"{_blob_id(content)}"'})

    def _from_cdn(self, rest: str) -> None:
        prefix = DATASETS if rest.startswith(DATASETS) else ""
        organisation, repository, commit, name = rest.removeprefix(prefix).split("/", 3)
        content = self.hub.repositories[f"{prefix}{organisation}/{repository}"].commits[commit][name]
        self._content(name, content, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"'})

    def _content(self, name: str, content: bytes, headers: Mapping[str, str]) -> None:
        start, last = self._range(len(content))
        extra = {"Accept-Ranges": "bytes"}
        if "Range" in self.headers:
            extra["Content-Range"] = f"bytes {start}-{last}/{len(content)}"
        self._head(206 if "Range" in self.headers else 200, last + 1 - start, {**headers, **extra})
        if self.command == "HEAD":
            return
        cut = self.hub.cut(name)
        end = last + 1 if cut is None else min(last + 1, start + cut)
        for position in range(start, end, CHUNK):
            self.wfile.write(content[position : min(position + CHUNK, end)])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True

    def _range(self, size: int) -> tuple[int, int]:
        """Return the first and the last byte of `bytes=N-` and `bytes=N-M`; the client asks for no other ranges."""
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        return int(first), min(int(last or size), size - 1)

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self._head(200, len(body), {"Content-Type": "application/json"})
        self.wfile.write(body)

    def _refuse(
        self, status: int, *, message: str, code: str | None = None, commit: str | None = None
    ) -> None:
        if self.hub.quotes:
            message = f"{message}: {self.headers.get('Authorization')} of {self.path}"
        body = json.dumps({"error": message}).encode()
        headers = {"Content-Type": "application/json", "X-Error-Message": message}
        if code:
            headers["X-Error-Code"] = code
        if commit:
            headers["X-Repo-Commit"] = commit
        self._head(status, len(body), headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, length: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin", ".parquet"))


def _blob_id(content: bytes) -> str:
    """Return the id that git gives a file."""
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


def _entry(path: str, content: bytes) -> dict[str, object]:
    entry: dict[str, object] = {
        "type": "file",
        "path": path,
        "oid": _blob_id(content),
        "size": len(content),
    }
    if _is_large(path):
        oid = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 134}
    return entry


@contextmanager
def serve_hub(hub: Hub | None = None, handling: type[Handler] = Handler) -> Iterator[Hub]:
    """Serve an empty hub, or the one that is given."""
    hub = hub or Hub()
    handler = type("Handler", (handling,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.address = ("127.0.0.1", server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, name="hub", daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()

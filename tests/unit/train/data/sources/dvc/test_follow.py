"""Pointers of DVC are followed to their remote: what is fetched, recorded and refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from modelgarden_pod.errors import UserError
from modelgarden_pod.local import LocalFolder
from modelgarden_train.data.sources.dvc.follow import Pointers
from modelgarden_train.data.sources.dvc.source import read_mounted
from modelgarden_train.data.sources.files import Fetched, SourceFile, recorded

SETTINGS = b"[core]\nremote = store\n['remote \"store\"']\nurl = s3://bucket/dvc\n"
ROWS = b'{"prompt": "a", "completion": "b"}\r\n{"prompt": "c", "completion": "d"}\r\n'
BINARY = b"\x1f\x8b\x08\x00\r\n\x00"
FORMER = {
    "rows.jsonl.dvc": "outs:\n- md5: 6724988cb70e0bd9a01b75ca2fa8f6b3\n  size: 72\n  path: rows.jsonl\n",
    "d.dvc": "outs:\n- md5: 8378a0dc21ade34c55ad38d67035d180.dir\n  size: 79\n  nfiles: 2\n  path: d\n",
}
FORMER_REMOTE = {
    "67/24988cb70e0bd9a01b75ca2fa8f6b3": ROWS,
    "c9/1d65d61925e445d8649e289773ce28": BINARY,
    "83/78a0dc21ade34c55ad38d67035d180.dir": b'[{"md5": "c91d65d61925e445d8649e289773ce28", "relpath": "b.gz"}, '
    b'{"md5": "6724988cb70e0bd9a01b75ca2fa8f6b3", "relpath": "x.jsonl"}]',
}
"""As DVC 2.58.2 wrote them of ROWS and BINARY: `dvc add rows.jsonl d`, `dvc push`."""


@dataclass
class Project:
    """A DVC project whose pointers lie in s3://data/shop."""

    root: Path
    settings: dict[str, bytes | UserError] = field(
        default_factory=lambda: {"s3://data/.dvc/config": SETTINGS}
    )
    asked: list[str] = field(default_factory=list)
    opened: set[str] = field(default_factory=set)

    def keep(self, content: bytes) -> str:
        """Put content into the remote as DVC 3 does; return its MD5."""
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        self.put(f"files/md5/{md5[:2]}/{md5[2:]}", content)
        return md5

    def keep_folder(self, files: dict[str, bytes]) -> str:
        """Put a folder into the remote; return the MD5 of its list."""
        listing = json.dumps(
            [{"md5": self.keep(content), "relpath": name} for name, content in files.items()]
        )
        md5 = hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest()
        self.put(f"files/md5/{md5[:2]}/{md5[2:]}.dir", listing.encode())
        return md5

    def put(self, key: str, content: bytes) -> None:
        path = self.root / "remote" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def follow(self, pointers: dict[str, str]) -> Fetched:
        files = []
        for name, text in pointers.items():
            path = self.root / "fetched" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            files.append(SourceFile(3, f"s3://data/shop/{name}", path))
        fetched = Fetched(tuple(files), recorded("s3://data/shop/*.dvc", [("pointer", "0" * 64)]))
        return Pointers(read=self._read, open_remote=self._open).follow(fetched, self.root / "here")

    def _read(self, uri: str) -> bytes | None:
        self.asked.append(uri)
        found = self.settings.get(uri)
        if isinstance(found, UserError):
            raise found
        return found

    def _open(self, uri: str) -> LocalFolder:
        self.opened.add(uri)
        return LocalFolder(self.root / "remote")


def pointer(md5: str, path: str, more: str = "") -> str:
    return f"outs:\n- md5: {md5}\n  hash: md5\n  path: {path}\n{more}"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_pointers_are_replaced_by_what_they_lead_to(project: Project) -> None:
    file = project.keep(ROWS)
    folder = project.keep_folder({"b/2.csv": b"two", "1.csv": b"one"})

    fetched = project.follow(
        {"rows.jsonl.dvc": pointer(file, "rows.jsonl"), "d.dvc": pointer(f"{folder}.dir", "d")}
    )

    names = ["rows.jsonl", "d/1.csv", "d/b/2.csv"]
    assert [(one.source, one.name) for one in fetched.files] == [
        (3, f"s3://data/shop/{name}") for name in names
    ]
    assert [one.path.read_bytes() for one in fetched.files] == [ROWS, b"one", b"two"]
    assert [one.path.name.rpartition("-")[2] for one in fetched.files] == ["rows.jsonl", "1.csv", "2.csv"]
    assert (fetched.record.uri, fetched.record.files) == ("s3://data/shop/*.dvc", 3)
    assert project.opened == {"s3://bucket/dvc"}
    assert project.asked[:2] == ["s3://data/shop/.dvc/config", "s3://data/.dvc/config"]


def test_what_is_recorded_changes_with_the_data(project: Project) -> None:
    digests = {
        project.follow({"rows.dvc": pointer(project.keep(content), "rows")}).record.digest
        for content in (b"one", b"two", b"one")
    }

    assert len(digests) == 2


def test_the_nearest_settings_hold(project: Project) -> None:
    nearest = SETTINGS.replace(b"bucket/dvc", b"nearest")
    project.settings["s3://data/shop/.dvc/config"] = nearest

    project.follow({"rows.dvc": pointer(project.keep(ROWS), "rows")})

    assert project.opened == {"s3://nearest"}


@pytest.mark.parametrize(("name", "want"), [("rows.jsonl.dvc", [ROWS]), ("d.dvc", [BINARY, ROWS])])
def test_a_pointer_of_before_dvc_3_is_followed(name: str, want: list[bytes], project: Project) -> None:
    for key, content in FORMER_REMOTE.items():
        project.put(key, content)

    fetched = project.follow({name: FORMER[name]})

    assert [one.path.read_bytes() for one in fetched.files] == want


def test_data_that_was_not_pushed_is_told(project: Project) -> None:
    with pytest.raises(UserError) as missing:
        project.follow({"rows.dvc": pointer("6724988cb70e0bd9a01b75ca2fa8f6b3", "rows")})

    assert missing.value.reason == "DatasetNotFound"
    assert missing.value.message.endswith(
        "remote/files/md5/67/24988cb70e0bd9a01b75ca2fa8f6b3, which s3://data/shop/rows.dvc leads to, does not exist in the "
        "job's storage; run `dvc push`"
    )


@pytest.mark.parametrize("suffix", ["", ".dir"])
def test_data_that_is_not_what_was_pointed_to_is_refused(suffix: str, project: Project) -> None:
    project.put(f"files/md5/67/24988cb70e0bd9a01b75ca2fa8f6b3{suffix}", b"[]")

    with pytest.raises(UserError) as refused:
        project.follow({"rows.dvc": pointer(f"6724988cb70e0bd9a01b75ca2fa8f6b3{suffix}", "rows")})

    assert refused.value.reason == "DatasetInvalid"
    assert refused.value.message.endswith(
        "which s3://data/shop/rows.dvc leads to, is damaged, its MD5 is d751713988987e9331980363e24189ce; remove it and run "
        "`dvc push`"
    )


def test_a_folder_without_content_is_told(project: Project) -> None:
    folder = project.keep_folder({"empty": b"", ".gitkeep": b"x"})

    with pytest.raises(UserError, match="leads to no file with content; add some with `dvc add`") as missing:
        project.follow({"d.dvc": pointer(f"{folder}.dir", "d")})

    assert missing.value.reason == "DatasetNotFound"


def test_more_files_than_a_source_may_have_are_refused_before_they_are_fetched(project: Project) -> None:
    listing = json.dumps([{"md5": "1" * 32, "relpath": str(number)} for number in range(10_001)]).encode()
    md5 = hashlib.md5(listing, usedforsecurity=False).hexdigest()
    project.put(f"files/md5/{md5[:2]}/{md5[2:]}.dir", listing)

    with pytest.raises(UserError, match="leads to more than 10000 files; join them to fewer") as refused:
        project.follow({"d.dvc": pointer(f"{md5}.dir", "d")})

    assert refused.value.reason == "DatasetInvalid"


def test_a_pointer_outside_of_any_project_is_told(project: Project) -> None:
    project.settings.clear()

    with pytest.raises(UserError, match=r"nor in one above is a \.dvc/config") as missing:
        project.follow({"rows.dvc": pointer(project.keep(ROWS), "rows")})

    assert missing.value.reason == "DatasetNotFound"


def test_settings_that_may_not_be_read_are_told_with_what_needs_them(project: Project) -> None:
    project.settings = {"s3://data/.dvc/config": UserError("AccessDenied", "s3:GetObject is denied")}

    with pytest.raises(UserError) as denied:
        project.follow({"rows.dvc": pointer(project.keep(ROWS), "rows")})

    assert denied.value.reason == "AccessDenied"
    assert denied.value.message.startswith(
        "s3:GetObject is denied. It is looked for to follow s3://data/shop/rows.dvc: upload .dvc/config"
    )


def test_settings_in_a_claim_are_read_from_inside_of_it_alone(tmp_path: Path) -> None:
    claim = tmp_path / "pvc/corpus"
    (claim / ".dvc").mkdir(parents=True)
    (tmp_path / "secret").write_text("not for anybody")

    assert read_mounted("pvc://corpus/.dvc/config", mounts=tmp_path) is None

    (claim / ".dvc/config").write_bytes(SETTINGS)
    assert read_mounted("pvc://corpus/.dvc/config", mounts=tmp_path) == SETTINGS

    (claim / ".dvc/config").unlink()
    (claim / ".dvc/config").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match="link to a place outside of its volume"):
        read_mounted("pvc://corpus/.dvc/config", mounts=tmp_path)

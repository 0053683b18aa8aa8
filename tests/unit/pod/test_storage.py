"""Folders: what both backends promise, tried on the local one. S3 is tried on a real server in tests/integration."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from modelgarden.api.pods import PodStorage
from modelgarden_pod.errors import CorruptObject, ObjectNotFound
from modelgarden_pod.folder import Folder
from modelgarden_pod.local import LocalFolder, local_path
from modelgarden_pod.storage import (
    download_entries,
    in_parallel,
    is_local,
    open_folder,
    read_or_none,
    split_uri,
    upload_tree,
)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return LocalFolder(tmp_path / "storage")


def test_what_is_written_is_read_back_with_its_digest(folder: Folder) -> None:
    entry = folder.write("a/b.json", b"{}")

    assert folder.read("a/b.json") == b"{}"
    assert entry.sha256 == hashlib.sha256(b"{}").hexdigest()
    assert entry.bytes == 2
    found = folder.stat("a/b.json")
    assert found is not None
    assert found.sha256 == entry.sha256


def test_a_missing_file_is_none_or_not_found(folder: Folder) -> None:
    assert folder.stat("nothing") is None
    assert read_or_none(folder, "nothing") is None
    with pytest.raises(ObjectNotFound, match="nothing does not exist"):
        folder.read("nothing")


def test_a_tree_comes_back_as_it_went(folder: Folder, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "one").write_bytes(b"1")
    (source / "deep" / "two").write_bytes(b"22")

    entries = upload_tree(folder, source, prefix="artifact")
    download_entries(folder, entries, tmp_path / "target")

    assert [entry.path for entry in entries] == ["artifact/deep/two", "artifact/one"]
    assert (tmp_path / "target/artifact/deep/two").read_bytes() == b"22"


def test_a_file_that_is_not_the_recorded_one_is_refused_and_not_left(folder: Folder, tmp_path: Path) -> None:
    entry = folder.write("weights", b"good")
    folder.write("weights", b"evil")

    with pytest.raises(CorruptObject, match="weights has SHA-256"):
        folder.download("weights", tmp_path / "weights", sha256=entry.sha256)
    assert list(tmp_path.glob("*weights*")) == []


def test_a_failed_write_leaves_the_old_content(folder: Folder, tmp_path: Path) -> None:
    folder.write("weights", b"old")

    with pytest.raises(FileNotFoundError):
        folder.upload(tmp_path / "missing", "weights")
    assert folder.read("weights") == b"old"
    assert [file.name for file in folder.list()] == ["weights"]


def test_a_range_is_cut_out_and_a_changed_file_noticed(folder: Folder) -> None:
    folder.write("weights", b"0123456789")
    found = folder.stat("weights")
    assert found is not None

    assert folder.read_range("weights", start=2, length=3, etag=found.etag) == b"234"
    folder.write("weights", b"changed")
    with pytest.raises(ObjectNotFound):
        folder.read_range("weights", start=2, length=3, etag=found.etag)


def test_deleting_leaves_no_empty_folders(folder: Folder) -> None:
    folder.write("checkpoints/1/a", b"")
    folder.write("checkpoints/2/a", b"")

    folder.delete(["checkpoints/1/a", "checkpoints/1/never-there"])

    assert [file.name for file in folder.list()] == ["checkpoints/2/a"]
    assert not local_path(folder.child("checkpoints/1").uri).exists()


@pytest.mark.parametrize(
    ("uri", "want_folder", "want_name"),
    [
        ("s3://bucket/path/rows.jsonl", "s3://bucket/path", "rows.jsonl"),
        ("s3://bucket/rows.jsonl", "s3://bucket", "rows.jsonl"),
        ("file:///data/rows.jsonl", "file:///data", "rows.jsonl"),
        ("rows.jsonl", ".", "rows.jsonl"),
    ],
)
def test_a_uri_splits_into_folder_and_name(uri: str, want_folder: str, want_name: str) -> None:
    assert split_uri(uri) == (want_folder, want_name)


def test_file_uris_and_plain_paths_are_local(tmp_path: Path) -> None:
    assert is_local("file:///a%20b/c")
    assert is_local("rows.jsonl")
    assert not is_local("s3://bucket/key")
    assert local_path("file:///a%20b/c") == Path("/a b/c")
    assert open_folder(str(tmp_path), PodStorage()).uri == tmp_path.as_uri()


def test_the_first_error_of_parallel_work_is_raised() -> None:
    def fail() -> int:
        raise ValueError("broken")

    assert in_parallel([lambda: 1, lambda: 2]) == [1, 2]
    with pytest.raises(ValueError, match="broken"):
        in_parallel([lambda: 1, fail])

"""Locations in S3."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from modelgarden.api.artifact import FileEntry
from modelgarden.api.layout import Location, alias_key, listing_digest, registry_uri, run_uri, version_key


@pytest.mark.parametrize(
    ("uri", "want_bucket", "want_key"),
    [("s3://b", "b", ""), ("s3://b/", "b", ""), ("s3://b/a/c", "b", "a/c"), ("s3://b/a/", "b", "a")],
)
def test_a_uri_is_bucket_and_key(uri: str, want_bucket: str, want_key: str) -> None:
    assert Location.parse(uri) == Location(bucket=want_bucket, key=want_key)


@pytest.mark.parametrize("uri", ["", "b/a", "s3:///a", "hf://a/b", "https://b/a"])
def test_what_is_no_s3_uri_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="is not of the form s3://bucket/key"):
        Location.parse(uri)


def test_a_child_of_a_bucket_has_no_leading_slash() -> None:
    assert str(Location("b", "").child("x").child("y")) == "s3://b/x/y"
    assert str(Location("b", "")) == "s3://b"


def test_runs_and_the_registry_lie_under_the_output() -> None:
    assert run_uri("s3://b/g/", namespace="n", job="j", uid="u") == "s3://b/g/runs/n/j/u"
    assert registry_uri("s3://b/g", namespace="n", model_name="m") == "s3://b/g/models/n/m"
    assert (version_key(3), alias_key("latest")) == ("versions/3.json", "aliases/latest.json")


def test_a_listing_has_the_same_digest_in_any_order_and_another_for_another_file() -> None:
    files = [("a", "e1", 1), ("b", "e2", 2)]

    assert listing_digest(files) == listing_digest(reversed(files))
    assert listing_digest(files) != listing_digest([("a", "e1", 1), ("b", "e2", 3)])


@pytest.mark.parametrize("path", ["../x", "a/../x", "/x", "a//x", "a/.x", "", "a/"])
def test_a_manifest_names_no_file_outside_its_folder(path: str) -> None:
    with pytest.raises(ValidationError, match="path"):
        FileEntry(path=path, sha256="0" * 64, bytes=1)


@pytest.mark.parametrize("path", ["model.safetensors", "artifact/merged/model-00001-of-00002.safetensors"])
def test_a_manifest_names_files_by_their_folders(path: str) -> None:
    assert FileEntry(path=path, sha256="0" * 64, bytes=1).path == path

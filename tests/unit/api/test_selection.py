"""What the URI of a source names: one file, a folder, or the files that fit a pattern."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden.api.selection import names_pointers, selection_of


@pytest.mark.parametrize("uri", ["s3://data/rows.jsonl", "rows.jsonl", "file:///data/rows.jsonl"])
def test_a_uri_without_a_wildcard_is_one_file(uri: str) -> None:
    assert selection_of(uri) is None


@pytest.mark.parametrize(
    ("uri", "folder", "start"),
    [
        ("s3://data/faq/", "s3://data/faq", ""),
        ("s3://data/**/*", "s3://data", ""),
        ("s3://data/part-*.jsonl", "s3://data", "part-"),
        ("s3://data/a/2026-*/b/*.jsonl", "s3://data/a", "2026-"),
        ("s3://data/a/?.jsonl", "s3://data/a", ""),
        ("file:///data/*", "file:///data", ""),
    ],
)
def test_only_what_is_below_the_folder_and_has_the_start_need_be_listed(
    uri: str, folder: str, start: str
) -> None:
    selection = selection_of(uri)

    assert selection is not None
    assert (selection.folder, selection.start) == (folder, start)


@pytest.mark.parametrize(
    ("uri", "taken", "left"),
    [
        ("s3://d/", ["a.jsonl", "b/c.jsonl", "b/c/d.json"], ["_SUCCESS", ".x", "b/_log/0.json", "b/.c", "b/", ""]),
        ("s3://d/*.jsonl", ["a.jsonl", "b.c.jsonl"], ["b/a.jsonl", "a.json", "a.jsonl.gz", "_a.jsonl", ".jsonl"]),
        ("s3://d/a-?.jsonl", ["a-1.jsonl"], ["a-10.jsonl", "a-.jsonl"]),
        ("s3://d/*/x/*.json", ["a/x/b.json"], ["x/b.json", "a/b/x/b.json", "a/x/y/b.json"]),
        ("s3://d/**/*.json", ["a.json", "b/a.json", "b/c/a.json"], ["a.jsonl", "b/_c/a.json"]),
        ("s3://d/**/x/**/y", ["x/y", "a/x/y", "x/b/y", "a/x/x/b/c/y", "x/y/y"], ["x", "y", "y/x", "x/z"]),
        ("s3://d/a*/", ["ab/c", "a/b/c"], ["b/c", "ab"]),
        ("s3://d/a**b", ["ab", "axb"], ["a/b"]),
    ],
)  # fmt: skip
def test_which_names_are_taken(uri: str, taken: list[str], left: list[str]) -> None:
    selection = selection_of(uri)

    assert selection is not None
    assert [name for name in taken if not selection.takes(name)] == []
    assert [name for name in left if selection.takes(name)] == []


def test_no_pattern_takes_long_over_a_name() -> None:
    """A thousand resources' patterns are held against names in one process."""
    selection = selection_of(f"s3://d/{'*a' * 200}b/{'**/a*/' * 60}b")
    assert selection is not None

    started = time.perf_counter()
    assert not selection.takes(f"{'a' * 400}b/{'a/' * 300}c")

    assert time.perf_counter() - started < 1


@given(st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=5), st.data())
def test_a_name_fits_what_is_made_of_it(parts: list[str], data: st.DataObject) -> None:
    pattern = []
    for part in parts:
        pattern += data.draw(st.sampled_from([[part], ["*"], [f"{part[0]}*"], ["**", part], ["**"]]))
    selection = selection_of("/".join(["s3://d", *pattern]))

    name = "/".join(["s3://d", *parts])
    assert selection is None or selection.takes(name.removeprefix(f"{selection.folder}/"))


@pytest.mark.parametrize(
    ("uri", "want"),
    [
        ("s3://data/rows.jsonl.dvc", True),
        ("s3://data/**/*.dvc", True),
        ("pvc://corpus/chats.dvc", True),
        ("file:///data/rows.dvc", True),
        ("s3://data/rows.jsonl", False),
        ("s3://data/rows.dvc/", False),
        ("hf://org/name.dvc", False),
        ("https://host/rows.dvc", False),
        ("configmap://name/rows.dvc", False),
    ],
)
def test_names_that_end_with_dvc_in_storage_and_volumes_are_pointers(uri: str, want: bool) -> None:
    assert names_pointers(uri) is want

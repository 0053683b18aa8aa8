"""Pointer files of DVC: what they lead to, and those that cannot be followed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden_pod.errors import UserError
from modelgarden_train.data.sources.dvc.pointer import (
    LARGEST_LIST_BYTES,
    LARGEST_POINTER_BYTES,
    Tracked,
    files_in,
    read_pointer,
)

MD5 = "6724988cb70e0bd9a01b75ca2fa8f6b3"
URI = "s3://data/shop/rows.jsonl.dvc"


def read(text: str) -> tuple[Tracked, ...]:
    return read_pointer(text.encode(), URI)


def test_a_pointer_leads_to_a_file_by_its_md5() -> None:
    (tracked,) = read(f"outs:\n- md5: {MD5}\n  size: 72\n  hash: md5\n  path: rows.jsonl\n")

    assert tracked == Tracked(
        name="s3://data/shop/rows.jsonl", md5=MD5, is_folder=False, former=False, pointer=URI
    )
    assert tracked.key == f"files/md5/{MD5[:2]}/{MD5[2:]}"


def test_a_pointer_of_before_dvc_3_names_no_hash_and_leads_elsewhere() -> None:
    (tracked,) = read(f"outs:\n- md5: {MD5}\n  size: 72\n  path: rows.jsonl\n")

    assert tracked.former
    assert tracked.key == f"{MD5[:2]}/{MD5[2:]}"


def test_a_pointer_may_be_of_a_folder_name_a_remote_and_say_more() -> None:
    folder, file = read(
        f"md5: 47e3656581f8a61255f07bd8a19f4080\nfrozen: true\ndeps:\n- path: /raw\ndesc: rows\nouts:\n"
        f"- md5: {MD5}.dir\n  nfiles: 2\n  hash: md5\n  path: chats\n  remote: cold\n  isexec: false\n"
        f"- md5: '{'1' * 32}'\n  hash: md5\n  path: b.csv\n  cache: true\n"
    )

    assert (folder.is_folder, folder.remote, folder.name) == (True, "cold", "s3://data/shop/chats")
    assert folder.key == f"files/md5/{MD5[:2]}/{MD5[2:]}.dir"
    assert (file.is_folder, file.remote, file.md5) == (False, None, "1" * 32)


def test_digits_are_a_text_too() -> None:
    (tracked,) = read(f"outs: [{{md5: {'1' * 32}, path: 2026}}]")

    assert (tracked.md5, tracked.name) == ("1" * 32, "s3://data/shop/2026")


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ('{"prompt": "a", "completion": "b"}', "outs: Field required"),
        ("outs: []", "outs: Tuple should have at least 1 item after validation, not 0"),
        ("outs:\n- md5: abc\n  path: rows.jsonl\n", "outs.0.md5: String should match pattern"),
        (f"outs:\n- md5: ../../{MD5}\n  path: rows.jsonl\n", "outs.0.md5: String should match pattern"),
        (f"outs:\n- md5: {MD5}\n", "outs.0.path: Field required"),
        ("outs:\n- hash: md5\n  path: rows.jsonl\n", "rows.jsonl has no md5"),
        (f"outs:\n- md5: {MD5}\n  hash: blake3\n  path: rows.jsonl\n", "the hash of rows.jsonl is none of MD5"),
        ("", "Input should be a valid dictionary"),
        ("outs: [", "it is no YAML"),
        ("outs: *none", "it is no YAML"),
        pytest.param("[" * 20_000, "it is no YAML", id="nested"),
        pytest.param("x" * (LARGEST_POINTER_BYTES + 1), "it is larger than 64 KiB", id="too large"),
    ],
)  # fmt: skip
def test_what_is_no_pointer_is_refused(text: str, want: str) -> None:
    with pytest.raises(UserError) as refused:
        read(text)

    assert refused.value.reason == "DatasetInvalid"
    assert refused.value.message.startswith(f"{URI} is no pointer of DVC that can be followed: {want}")
    assert refused.value.message.endswith(
        "; upload it as `dvc add` writes it, or name the data itself as the source"
    )


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (
            f"deps:\n- path: d\n  repo:\n    url: https://example.org/r\nouts:\n- md5: {MD5}\n  hash: md5\n  path: d\n",
            "is an import from another project, whose remote has the data; name that project's pointer",
        ),
        (
            f"outs:\n- md5: {MD5}\n  path: d\n  cloud:\n    store:\n      etag: x\n      version_id: y\n",
            "is of a remote with versions, in which data lies under its own name; name that as the source",
        ),
        (
            "outs:\n- path: d\n  files:\n  - relpath: a\n    cloud: {store: {etag: x}}\n",
            "is of a remote with versions, in which data lies under its own name; name that as the source",
        ),
        (
            f"outs:\n- md5: {MD5}\n  path: d\n  cache: false\n",
            "is of data that DVC does not push (cache or push is false); name the data itself as the source",
        ),
        (
            f"outs:\n- md5: {MD5}\n  path: d\n  push: false\n",
            "is of data that DVC does not push (cache or push is false); name the data itself as the source",
        ),
    ],
)  # fmt: skip
def test_a_pointer_whose_data_lies_in_no_remote_by_its_md5_is_refused(text: str, want: str) -> None:
    with pytest.raises(UserError) as refused:
        read(text)

    assert (refused.value.reason, refused.value.message) == ("DatasetInvalid", f"{URI} {want}")


@given(st.one_of(st.binary(max_size=200), st.text(alphabet="outs:md5&*![]{}- \n'\"pathx1", max_size=200)))
def test_anything_is_a_pointer_or_refused(content: bytes | str) -> None:
    text = content.encode() if isinstance(content, str) else content

    try:
        found = read_pointer(text, URI)
    except UserError as refused:
        assert refused.reason == "DatasetInvalid"  # noqa: PT017 -- either is right
    else:
        assert found


FOLDER = Tracked("s3://data/shop/chats", MD5, is_folder=True, former=True, pointer=URI, remote="cold")


def test_the_list_of_a_folder_names_its_files_but_those_that_sources_leave_out() -> None:
    names = ("b.jsonl", "a/1.jsonl", ".notes", "_SUCCESS", "a/.x", "../out", "/etc/passwd")
    entries = [f'{{"md5": "{MD5}", "relpath": "{name}"}}' for name in names]
    entries.append('{"md5": "d41d8cd98f00b204e9800998ecf8427e", "relpath": "empty.jsonl"}')

    files = files_in(f"[{', '.join(entries)}]".encode(), FOLDER)

    assert [file.name for file in files] == ["s3://data/shop/chats/a/1.jsonl", "s3://data/shop/chats/b.jsonl"]
    assert all(file.former and file.remote == "cold" and not file.is_folder for file in files)


@pytest.mark.parametrize(
    ("listing", "want"),
    [
        (b"[", "Invalid JSON"),
        (b"{}", "Input should be a valid"),
        (b'[{"md5": "..", "relpath": "a"}]', "0.md5: String should match pattern"),
        pytest.param(
            b" " * (LARGEST_LIST_BYTES + 1), f"the list of files that {URI} leads to is larger than 16 MiB", id="too large"
        ),
    ],
)  # fmt: skip
def test_a_list_that_is_none_is_refused(listing: bytes, want: str) -> None:
    with pytest.raises(UserError) as refused:
        files_in(listing, FOLDER)

    assert refused.value.reason == "DatasetInvalid"
    assert want in refused.value.message

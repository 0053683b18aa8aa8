"""Sources in mounted volumes: what is copied, and that nothing from outside of a volume ever is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelgarden.api.pods import PodSource
from modelgarden_pod.errors import UserError
from modelgarden_train.data.sources.files import Fetched
from modelgarden_train.data.sources.mounted import fetch_mounted


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    claim = tmp_path / "mounts/pvc/corpus"
    (claim / "a/b").mkdir(parents=True)
    for name in ("rows.jsonl", "a/2.jsonl", "a/b/1.jsonl"):
        (claim / name).write_text(f"content of {name}")
    (tmp_path / "secret").write_text("not for the model")
    return claim


def fetch(uri: str, folder: Path) -> Fetched:
    return fetch_mounted(0, PodSource(uri=uri), folder / "here", mounts=folder / "mounts")


@pytest.mark.parametrize(
    ("uri", "want"),
    [
        ("pvc://corpus/rows.jsonl", ["rows.jsonl"]),
        ("pvc://corpus/a/", ["a/2.jsonl", "a/b/1.jsonl"]),
        ("pvc://corpus/*.jsonl", ["rows.jsonl"]),
        ("pvc://corpus/**/?.jsonl", ["a/2.jsonl", "a/b/1.jsonl"]),
    ],
)
@pytest.mark.usefixtures("claim")
def test_the_files_of_a_claim_are_copied_in_the_order_of_their_names(
    uri: str, want: list[str], tmp_path: Path
) -> None:
    fetched = fetch(uri, tmp_path)

    assert [file.name for file in fetched.files] == [f"pvc://corpus/{name}" for name in want]
    assert [file.path.read_text() for file in fetched.files] == [f"content of {name}" for name in want]
    assert fetched.record.files == len(want)


def test_a_config_map_is_read_through_the_links_that_the_kubelet_makes(tmp_path: Path) -> None:
    volume = tmp_path / "mounts/configmap/faq"
    (volume / "..2026_11_26").mkdir(parents=True)
    (volume / "..2026_11_26/rows.jsonl").write_text("{}")
    (volume / "..data").symlink_to("..2026_11_26")
    (volume / "rows.jsonl").symlink_to("..data/rows.jsonl")

    (file,) = fetch("configmap://faq/rows.jsonl", tmp_path).files

    assert file.path.read_text() == "{}"
    with pytest.raises(
        UserError, match=r"configmap://faq/other is not there, the ConfigMap has rows\.jsonl;"
    ):
        fetch("configmap://faq/other", tmp_path)


@pytest.mark.parametrize("uri", ["pvc://corpus/out.jsonl", "pvc://corpus/", "pvc://corpus/out/secret"])
def test_a_link_out_of_the_volume_is_refused(uri: str, claim: Path, tmp_path: Path) -> None:
    (claim / "out.jsonl").symlink_to("../../../secret")
    (claim / "out").symlink_to(tmp_path)

    with pytest.raises(UserError, match="is a link to a place outside of its volume") as refused:
        fetch(uri, tmp_path)

    assert refused.value.reason == "DatasetInvalid"
    assert not any(path.read_text() == "not for the model" for path in (tmp_path / "here").iterdir())


def test_a_path_that_leaves_the_volume_is_refused(claim: Path, tmp_path: Path) -> None:
    """The spec's pattern has no .., but a configuration may come from elsewhere."""
    with pytest.raises(UserError, match="outside of its volume"):
        fetch("pvc://corpus/../../../secret", tmp_path)


def test_what_is_no_file_is_refused_at_once(claim: Path, tmp_path: Path) -> None:
    os.mkfifo(claim / "pipe")

    for name, what in (("pipe", "a pipe, a socket or a device"), ("a", "a folder; end the source with /")):
        with pytest.raises(UserError, match=what):
            fetch(f"pvc://corpus/{name}", tmp_path)


@pytest.mark.parametrize(
    ("uri", "want"),
    [
        ("pvc://corpus/none.jsonl", "there is no file pvc://corpus/none.jsonl; put it there"),
        ("pvc://corpus/*.csv", "no file fits pvc://corpus/*.csv; put it there"),
        (
            "configmap://none/a",
            "configmap://none/a is not there, the ConfigMap has no key, or does not exist;",
        ),
    ],
)
@pytest.mark.usefixtures("claim")
def test_a_source_without_files_is_named(uri: str, want: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as missing:
        fetch(uri, tmp_path)

    assert missing.value.reason == "DatasetNotFound"
    assert missing.value.message.startswith(want)

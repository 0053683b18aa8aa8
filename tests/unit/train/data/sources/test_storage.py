"""Sources in storage: the files that are fetched, in which order, and what is recorded of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelgarden.api.pods import PodDataset, PodSource, RunConfig
from modelgarden_pod.errors import UserError
from modelgarden_pod.retry import Patience
from modelgarden_train.data.sources.fetch import fetch_sources, list_sources
from modelgarden_train.data.sources.files import Fetched
from tests.unit.train.builders import make_config


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("rows.jsonl", "a/2.jsonl", "a/10.jsonl", "a/b/1.jsonl", "a/_SUCCESS", "a/notes on rows.md"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
    (tmp_path / "data/a/empty.jsonl").touch()
    return tmp_path / "data"


def config_of(*uris: str) -> RunConfig:
    return make_config(dataset=PodDataset(sources=tuple(PodSource(uri=uri) for uri in uris)))


def fetch(config: RunConfig, target: Path) -> tuple[Fetched, ...]:
    return fetch_sources(list_sources(config, patience=Patience(total=0)), target)


def test_the_files_of_all_sources_come_in_the_order_of_sources_and_names(data: Path, tmp_path: Path) -> None:
    fetched = fetch(config_of(f"{data}/a/*.jsonl", f"{data}/rows.jsonl", f"{data}/a/"), tmp_path / "here")

    files = [file for source in fetched for file in source.files]
    assert [(file.source, file.name.removeprefix(f"{data.as_uri()}/")) for file in files] == [
        (0, "a/10.jsonl"),
        (0, "a/2.jsonl"),
        (1, "rows.jsonl"),
        (2, "a/10.jsonl"),
        (2, "a/2.jsonl"),
        (2, "a/b/1.jsonl"),
        (2, "a/notes on rows.md"),
    ]
    for file in files:
        name = file.name.removeprefix(f"{data.as_uri()}/")
        assert file.path.read_text() == f"content of {name}"
        assert file.path.name.endswith(Path(name).name)
    assert [(source.record.uri, source.record.files) for source in fetched] == [
        (f"{data}/a/*.jsonl", 2), (f"{data}/rows.jsonl", 1), (f"{data}/a/", 4)
    ]  # fmt: skip


def test_a_sources_digest_is_that_of_its_content(data: Path, tmp_path: Path) -> None:
    def digest(name: str) -> str:
        (fetched,) = fetch(config_of(f"{data}/a/*.jsonl"), tmp_path / name)
        return fetched.record.digest

    first = digest("first")
    (data / "a/2.jsonl").touch()
    assert digest("touched") == first

    (data / "a/2.jsonl").write_text("other content")
    assert digest("changed") != first


@pytest.mark.parametrize(
    ("uri", "want_message"),
    [
        ("/nowhere/rows.jsonl", "there is no file /nowhere/rows.jsonl; upload it or correct the source"),
        ("/nowhere/", "no file fits /nowhere/; upload it or correct the source"),
    ],
)
def test_a_source_without_files_is_named(uri: str, want_message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as missing:
        fetch(config_of(uri), tmp_path)

    assert (missing.value.reason, missing.value.message) == ("DatasetNotFound", want_message)


def test_a_source_that_is_missing_is_told_before_any_is_fetched(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file /nowhere"):
        fetch(config_of(f"{data}/rows.jsonl", "/nowhere/rows.jsonl"), tmp_path / "here")

    assert not (tmp_path / "here").exists()


def pin(*uris: str) -> list[str | None]:
    return [one.pin for one in list_sources(config_of(*uris), patience=Patience(total=0))]


def test_a_listing_is_another_where_a_file_is(data: Path) -> None:
    uris = (f"{data}/a/*.jsonl", f"{data}/a/")
    before = pin(*uris)
    assert pin(*uris) == before
    assert before[0] != before[1]

    (data / "a/b/1.jsonl").write_text("another content")

    assert pin(*uris)[0] == before[0]
    assert pin(*uris)[1] != before[1]


def test_what_changed_while_it_was_read_has_no_pin(data: Path, tmp_path: Path) -> None:
    listings = list_sources(config_of(f"{data}/rows.jsonl", f"{data}/a/"), patience=Patience(total=0))
    (data / "rows.jsonl").write_text("another content")

    changed, kept = fetch_sources(listings, tmp_path / "here")

    assert changed.pin is None
    assert kept.pin == listings[1].pin is not None

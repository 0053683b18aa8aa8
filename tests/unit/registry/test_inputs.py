"""The fingerprint of a run's inputs, as it is noted on prepare Jobs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from modelgarden.api.layout import Location
from modelgarden.api.selection import MOST_FILES
from modelgarden.registry.errors import Missing, Refused
from modelgarden.registry.inputs import Inputs, InputSources
from modelgarden.registry.objects import ObjectInfo
from modelgarden.registry.store import Store

MODIFIED = datetime(2026, 11, 21, tzinfo=UTC)
OBJECTS = {
    key: ObjectInfo(key=key, size=size, etag=etag, last_modified=MODIFIED)
    for key, size, etag in (
        ("data/rows.jsonl", 4096, "0123abc"),
        ("parts/2026-1.jsonl", 10, "1a"),
        ("parts/2026-2.jsonl", 20, "2a"),
        ("parts/_SUCCESS", 3, "3a"),
        ("parts/old.csv", 30, "4a"),
        ("model/config.json", 20, "c0ffee"),
        ("model/model.safetensors", 10_000_000, "beef-2"),
    )
}


class Bucket(Store):
    """A bucket in memory."""

    def __init__(self) -> None:
        super().__init__({})

    async def require_bucket(self, location: Location) -> None:
        """Find every bucket."""

    async def head(self, location: Location) -> ObjectInfo | None:
        return OBJECTS.get(location.key)

    async def list_keys(
        self, prefix: Location, *, start: str = "", limit: int = 10_000
    ) -> tuple[ObjectInfo, ...]:
        found = (one for key, one in OBJECTS.items() if key.startswith(f"{prefix.key}/{start}".lstrip("/")))
        return tuple(found)[:limit]


@pytest.mark.parametrize(
    ("model", "credentials", "want"),
    [
        ("hf://acme/base", (), "a8c0e5282b01e1e40509939000b6c87b"),
        ("s3://bucket/model", ("17", "23"), "410c9d312433a676267c0de88b79d967"),
    ],
    ids=["a hub's model", "a model in S3 and two secrets"],
)
async def test_a_version_that_takes_another_fingerprint_prepares_every_blocked_job_anew(
    model: str, credentials: tuple[str, ...], want: str
) -> None:
    """Each of these is what version 0.1.0 noted."""
    sources = InputSources(
        model=model,
        dataset=("s3://bucket/data/rows.jsonl",),
        output="s3://bucket/garden",
        credentials=credentials,
    )

    assert await Inputs().fingerprint(Bucket(), sources) == want


def sources_of(*dataset: str) -> InputSources:
    return InputSources(model="hf://acme/base", dataset=dataset, output="s3://bucket/garden")


@pytest.mark.parametrize(
    ("changed", "changes"),
    [
        ("parts/2026-1.jsonl", True),
        ("data/rows.jsonl", True),
        ("parts/_SUCCESS", False),
        ("parts/old.csv", False),
    ],
)
async def test_the_fingerprint_of_several_sources_changes_with_each_file_that_they_select(
    changed: str, changes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = sources_of("s3://bucket/data/rows.jsonl", "s3://bucket/parts/2026-*.jsonl")
    before = await Inputs().fingerprint(Bucket(), sources)

    monkeypatch.setitem(OBJECTS, changed, replace(OBJECTS[changed], etag="other"))

    assert (await Inputs().fingerprint(Bucket(), sources) != before) == changes


@pytest.mark.parametrize(
    ("uri", "want"),
    [
        ("s3://bucket/parts/*.parquet", "No file fits s3://bucket/parts/*.parquet, of 4 objects that begin with"),
        ("s3://bucket/parts/2027-*", "No file fits s3://bucket/parts/2027-*, of 0 objects that begin with s3://bucket/parts/2027-"),
        ("s3://bucket/nothing/", "No file fits s3://bucket/nothing/"),
        ("s3://bucket/nothing", "s3://bucket/nothing does not exist"),
    ],
)  # fmt: skip
async def test_a_source_that_selects_nothing_is_told(uri: str, want: str) -> None:
    with pytest.raises(Missing) as missing:
        await Inputs().fingerprint(Bucket(), sources_of("s3://bucket/data/rows.jsonl", uri))

    assert missing.value.reason == "DatasetNotFound"
    assert missing.value.message.startswith(want)


async def test_a_source_with_too_many_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    one = OBJECTS["parts/2026-1.jsonl"]
    for number in range(MOST_FILES + 1):
        monkeypatch.setitem(OBJECTS, f"many/{number}", replace(one, key=f"many/{number}"))

    with pytest.raises(
        Refused, match=r"More than 10000 objects begin with s3://bucket/many/.*join its files"
    ) as refused:
        await Inputs().fingerprint(Bucket(), sources_of("s3://bucket/many/*.jsonl"))

    assert refused.value.reason == "DatasetInvalid"


async def test_what_does_not_lie_in_s3_is_left_to_the_prepare_pod() -> None:
    beside = sources_of("hf://acme/rows", "s3://bucket/data/rows.jsonl")

    found = await Inputs().fingerprint(Bucket(), beside)

    assert found == await Inputs().fingerprint(Bucket(), sources_of("s3://bucket/data/rows.jsonl"))

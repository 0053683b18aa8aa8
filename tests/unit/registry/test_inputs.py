"""The fingerprint of a run's inputs, as it is noted on prepare Jobs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from modelgarden.api.layout import Location
from modelgarden.registry.inputs import Inputs, InputSources
from modelgarden.registry.store import ObjectInfo, Store

MODIFIED = datetime(2026, 11, 21, tzinfo=UTC)
OBJECTS = {
    key: ObjectInfo(key=key, size=size, etag=etag, last_modified=MODIFIED)
    for key, size, etag in (
        ("data/rows.jsonl", 4096, "0123abc"),
        ("model/config.json", 20, "c0ffee"),
        ("model/model.safetensors", 10_000_000, "beef-2"),
    )
}


class Bucket(Store):
    """A bucket in memory."""

    def __init__(self) -> None:
        super().__init__(lambda: pytest.fail("S3 was asked"), pool=ThreadPoolExecutor(1), lanes=1)

    async def require_bucket(self, bucket: str) -> None:
        """Find every bucket."""

    async def head(self, location: Location) -> ObjectInfo | None:
        return OBJECTS.get(location.key)

    async def list_keys(self, prefix: Location, *, limit: int = 10_000) -> tuple[ObjectInfo, ...]:
        return tuple(one for key, one in OBJECTS.items() if key.startswith(prefix.key))


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
        dataset="s3://bucket/data/rows.jsonl",
        output="s3://bucket/garden",
        credentials=credentials,
    )

    assert await Inputs().fingerprint(Bucket(), sources) == want

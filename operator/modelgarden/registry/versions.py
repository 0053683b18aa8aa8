"""The registry: an artifact gets the next version of its model, once per run, and aliases point at versions.

A version is allocated by a conditional write, so jobs that end together never share a number. An operator
that died between that write and the alias finds the run's own version again.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta

from modelgarden.api.artifact import VersionRecord
from modelgarden.api.documents import OPERATOR, DocumentError, NewerDocument
from modelgarden.api.layout import MANIFEST, Location, alias_key, version_key
from modelgarden.registry.artifacts import Registration
from modelgarden.registry.errors import Refused, Unavailable
from modelgarden.registry.objects import ObjectInfo
from modelgarden.registry.store import Store

_VERSION = re.compile(r"/versions/([1-9][0-9]{0,8})\.json$")
_CLOCK_SLACK = timedelta(minutes=10)
"""S3 stamps manifest and version alike; its servers' clocks may differ by less than this."""
_MOST_TRIES = 64


async def allocate(store: Store, found: Registration, *, now: datetime) -> Registration:
    """Give the artifact the next version of its model, unless its run has one.

    Raises:
        StorageError: storage refuses or does not answer, or a newer version wrote what is there (UpgradeNeeded).
    """
    candidate = found.candidate
    record = VersionRecord(
        version=1,
        model_name=candidate.model_name,
        run=candidate.run,
        manifest=str(candidate.folder.child(MANIFEST)),
        manifest_sha256=found.manifest_sha256,
        created_at=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    return replace(found, record=await _allocate(store, candidate.model, record, since=found.written))


async def _allocate(
    store: Store, model: Location, record: VersionRecord, *, since: datetime | None
) -> VersionRecord:
    versions = await listed_versions(store, model)
    own = await _own_version(store, model, versions, record=record, since=since)
    if own is not None:
        return own
    number = max(versions, default=0) + 1
    for _ in range(_MOST_TRIES):
        wanted = record.model_copy(update={"version": number})
        location = model.child(version_key(number))
        if await store.put_bytes(
            location, wanted.model_dump_json(by_alias=True).encode(), if_none_match=True
        ):
            return wanted
        content = await store.get_bytes(location)
        if content is None:
            continue
        taken = record_in(content, location)
        # A write whose answer was lost is found here as our own.
        if taken is not None and taken.run.uid == record.run.uid:
            return taken
        number += 1
    raise Unavailable(f"{model}: {_MOST_TRIES} versions were taken meanwhile. The operator keeps trying.")


async def listed_versions(store: Store, model: Location) -> dict[int, ObjectInfo]:
    """Return the versions that a model has, by number.

    Raises:
        StorageError: storage refuses or does not answer.
    """
    listed = await store.list_keys(model.child("versions"), limit=1_000_000)
    return {int(match[1]): info for info in listed if (match := _VERSION.search(info.key))}


async def _own_version(
    store: Store,
    model: Location,
    versions: dict[int, ObjectInfo],
    *,
    record: VersionRecord,
    since: datetime | None,
) -> VersionRecord | None:
    for number in sorted(versions, reverse=True):
        # A run's version is written after its manifest, so older ones need not be read.
        if since is not None and versions[number].last_modified < since - _CLOCK_SLACK:
            return None
        location = model.child(version_key(number))
        content = await store.get_bytes(location)
        found = None if content is None else record_in(content, location)
        if found is not None and found.run.uid == record.run.uid:
            return found
    return None


def record_in(content: bytes, location: Location) -> VersionRecord | None:
    """Return the record of a version that an object of the registry holds, None where it is damaged.

    Raises:
        Refused: a newer version wrote it (UpgradeNeeded).
    """
    try:
        return VersionRecord.read(content, reader=OPERATOR)
    except NewerDocument as error:
        # It may be our own of before a downgrade, or an alias that is not to be moved back.
        raise Refused("UpgradeNeeded", f"{location} cannot be read. {error}") from error
    except DocumentError:
        # A record that someone spoilt is not ours, and must not keep others from registering.
        return None


async def move_alias(store: Store, found: Registration, *, alias: str) -> Registration:
    """Point an alias at the artifact's version, unless it points at a newer one already.

    Raises:
        StorageError: storage refuses or does not answer, or a newer version wrote what is there (UpgradeNeeded).
        ValueError: the artifact has no version yet.
    """
    if found.record is None:
        raise ValueError("the artifact has no version yet")
    await _point(store, found.candidate.model.child(alias_key(alias)), found.record)
    return replace(found, aliases=found.aliases | {alias})


async def _point(store: Store, location: Location, record: VersionRecord) -> None:
    content = record.model_dump_json(by_alias=True).encode()
    for _ in range(_MOST_TRIES):
        found = await store.get_tagged(location)
        if found is None:
            if await store.put_bytes(location, content, if_none_match=True):
                return
            continue
        current = record_in(found[0], location)
        if current is not None and current.version >= record.version:
            return
        if await store.put_bytes(location, content, if_match=found[1]):
            return
    raise Unavailable(f"Alias {location} changes too fast. The operator keeps trying.")

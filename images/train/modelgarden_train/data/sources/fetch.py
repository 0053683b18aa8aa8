"""Brings all sources of a dataset to this machine: all are listed first, so that what is missing is told at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from modelgarden.api.names import MOUNTED_SCHEMES
from modelgarden.api.pods import PodSource, RunConfig
from modelgarden.api.selection import names_pointers
from modelgarden_pod.retry import Patience
from modelgarden_train.data.sources.dvc.source import follow_pointers
from modelgarden_train.data.sources.files import Fetched, Listing
from modelgarden_train.data.sources.hub import list_on_hub
from modelgarden_train.data.sources.mounted import fetch_mounted
from modelgarden_train.data.sources.storage import list_stored
from modelgarden_train.data.sources.web import Web


def list_sources(config: RunConfig, *, patience: Patience) -> tuple[Listing, ...]:
    """List every source, in their order, those of validation last; files are read by none of it.

    Raises:
        UserError: DatasetNotFound, DatasetInvalid, AccessDenied or BucketNotFound.
        TemporaryError: a place does not answer.
    """
    sources = enumerate(config.dataset.all_sources)
    return tuple(_list(config, number, source, patience=patience) for number, source in sources)


def fetch_sources(listings: Sequence[Listing], target: Path) -> tuple[Fetched, ...]:
    """Fetch the files of every source into a folder of its own; return them in the sources' order.

    Raises:
        UserError: DatasetNotFound, DatasetInvalid, AccessDenied or BucketNotFound.
        TemporaryError: a place does not answer.
    """
    return tuple(listing.fetch(target / str(number)) for number, listing in enumerate(listings))


def _list(config: RunConfig, number: int, source: PodSource, *, patience: Patience) -> Listing:
    if source.uri.startswith("hf://"):
        return list_on_hub(number, source, patience=patience)
    if source.uri.startswith("https://"):
        web = Web(config.allowed_hosts)
        return Listing(fetch=partial(web.fetch, number, source, patience=patience))
    if source.uri.partition("://")[0] in MOUNTED_SCHEMES:
        listing = Listing(fetch=partial(fetch_mounted, number, source))
    else:
        listing = list_stored(number, source, storage=config.storage, patience=patience)
    if not names_pointers(source.uri):
        return listing

    def follow(target: Path) -> Fetched:
        pointers = listing.fetch(target / "pointers")
        rows = follow_pointers(pointers, target / "rows", storage=config.storage, patience=patience)
        # A pointer has the MD5 of the files that it leads to.
        return replace(rows, pin=pointers.pin)

    return Listing(fetch=follow, pin=listing.pin)

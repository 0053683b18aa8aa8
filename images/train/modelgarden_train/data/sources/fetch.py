"""Brings all sources of a dataset to this machine."""

from __future__ import annotations

from pathlib import Path

from modelgarden.api.names import MOUNTED_SCHEMES
from modelgarden.api.pods import PodSource, RunConfig
from modelgarden.api.selection import names_pointers
from modelgarden_pod.retry import Patience
from modelgarden_train.data.sources.dvc.source import follow_pointers
from modelgarden_train.data.sources.files import Fetched
from modelgarden_train.data.sources.hub import fetch_from_hub
from modelgarden_train.data.sources.mounted import fetch_mounted
from modelgarden_train.data.sources.storage import fetch_stored
from modelgarden_train.data.sources.web import Web


def fetch_sources(config: RunConfig, target: Path, *, patience: Patience) -> tuple[Fetched, ...]:
    """Fetch the files of every source into a folder of its own; return them in the sources' order, those of
    validation last.

    Raises:
        UserError: DatasetNotFound, DatasetInvalid, AccessDenied or BucketNotFound.
        TemporaryError: a place does not answer.
    """

    def fetch(number: int, source: PodSource) -> Fetched:
        if source.uri.startswith("hf://"):
            return fetch_from_hub(number, source, patience=patience)
        if source.uri.startswith("https://"):
            web = Web(config.allowed_hosts)
            return web.fetch(number, source, target / str(number), patience=patience)
        if source.uri.partition("://")[0] in MOUNTED_SCHEMES:
            return fetch_mounted(number, source, target / str(number))
        return fetch_stored(number, source, target / str(number), storage=config.storage, patience=patience)

    def fetch_rows(number: int, source: PodSource) -> Fetched:
        fetched = fetch(number, source)
        if not names_pointers(source.uri):
            return fetched
        return follow_pointers(fetched, target / f"{number}-dvc", storage=config.storage, patience=patience)

    return tuple(fetch_rows(number, source) for number, source in enumerate(config.dataset.all_sources))

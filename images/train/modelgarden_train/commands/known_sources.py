"""Sources that another run has read: by their listing it is known what they are, without their being fetched again."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from modelgarden.api.artifact import ListedSources, SourceRecord
from modelgarden.api.layout import listing_name
from modelgarden_pod.errors import PodError, UserError
from modelgarden_train.attempt.run import Run
from modelgarden_train.commands.shared_dataset import open_shared, read_shared
from modelgarden_train.data.sources.files import Fetched, Listing

logger = logging.getLogger(__name__)


class KnownSources:
    """What is known of a run's sources, where all of them are in places that tell what changes with the bytes.

    What a listing tells of the files of rows tells nothing of images beside them.
    """

    def __init__(self, run: Run, listings: Sequence[Listing], *, images: bool = False) -> None:
        self._folder = None if images else open_shared(run)
        self._pins = [listing.pin for listing in listings]

    def records(self) -> tuple[SourceRecord, ...] | None:
        """Return what a run before has read of sources that are listed as these are.

        Raises:
            TemporaryError: storage does not answer.
        """
        name = _name(self._pins)
        if self._folder is None or name is None:
            return None
        try:
            found = read_shared(ListedSources, self._folder, name)
        except UserError as error:
            logger.info("What was read of the sources is not known", extra={"error": error.message})
            return None
        return found.sources if found else None

    def note(self, fetched: Sequence[Fetched]) -> None:
        """Leave what this run has read for others, unless a source changed meanwhile; that it cannot is no fault of it."""
        name = _name([source.pin for source in fetched])
        if self._folder is None or name is None:
            return
        noted = ListedSources(sources=tuple(source.record for source in fetched))
        try:
            self._folder.write(name, noted.model_dump_json(by_alias=True, indent=2).encode())
        except PodError as error:
            logger.warning("What was read of the sources is not shared", extra={"error": str(error)})


def _name(pins: Sequence[str | None]) -> str | None:
    known = [pin for pin in pins if pin is not None]
    return listing_name(known) if len(known) == len(pins) else None

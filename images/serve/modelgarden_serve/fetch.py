"""`fetch`: bring the model's files to the local disk, in parts and in parallel, verified, going on where it was cut off.

What the user can mend without a new revision (keys, rights, a missing bucket) ends with the exit code of what passes, so
that the kubelet tries again; an artifact that is not what was resolved ends as the user's error.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial as bound
from pathlib import Path

from modelgarden.api.layout import MANIFEST
from modelgarden.api.names import EXIT_TEMPORARY
from modelgarden.api.pods import ServeConfig, TerminationMessage
from modelgarden_pod.errors import CorruptObject, PodError, UserError
from modelgarden_pod.folder import Folder
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage import open_folder, split_uri
from modelgarden_serve.partial import PARTIAL_FOLDER, PartialFile
from modelgarden_serve.selection import Selection, select

logger = logging.getLogger(__name__)

PART_BYTES = 16 * 1024 * 1024
PARALLEL_PARTS = 16
PATIENCE = Patience(total=120.0)
"""Then the container ends, says why, and goes on after the kubelet's back-off."""
TRIES_PER_FILE = 2
"""A file with a wrong SHA-256 is fetched once more, in case the network was to blame."""
PROGRESS_SECONDS = 10.0

_MENDABLE = frozenset({"AccessDenied", "BucketNotFound", "ModelNotFound", "SecretInvalid"})


class Mendable(PodError):  # noqa: N818 -- says what is so
    """What the user can mend outside of the resource, so that trying again helps."""

    exit_code = EXIT_TEMPORARY


@dataclass(frozen=True)
class Limits:
    """How much is fetched at once."""

    part_bytes: int = PART_BYTES
    parallel_parts: int = PARALLEL_PARTS


def fetch(
    config: ServeConfig, *, limits: Limits = Limits(), patience: Patience = PATIENCE
) -> TerminationMessage:
    """Fetch the configured model into its folder.

    Raises:
        UserError: the artifact is not what was resolved, or cannot be served.
        Mendable: the keys are wrong, or the rights, the bucket or the model are missing for now.
        TemporaryError: storage did not answer for the patience given.
    """
    began = time.monotonic()
    try:
        selection = select(
            open_folder(_folder_uri(config.model_uri), config.storage, patience=patience), config
        )
        fetched = _transfer(selection, Path(config.model_dir), limits)
    except UserError as error:
        if error.reason in _MENDABLE:
            raise Mendable(error.reason, error.message) from error
        raise
    seconds = time.monotonic() - began
    logger.info("Model is complete", extra={"files": len(selection.files), "bytes": selection.bytes})
    return TerminationMessage(
        reason="Resolved",
        message=f"{len(selection.files)} files, {selection.bytes} bytes; {fetched} fetched in {seconds:.1f} s",
    )


def _folder_uri(model_uri: str) -> str:
    return split_uri(model_uri)[0] if model_uri.endswith(f"/{MANIFEST}") else model_uri


def _transfer(selection: Selection, target: Path, limits: Limits) -> int:
    """Fetch what is not there yet and return how many bytes that were."""
    target.mkdir(parents=True, exist_ok=True)
    partials = [PartialFile(file, target=target, part_bytes=limits.part_bytes) for file in selection.files]
    missing = [partial for partial in partials if not partial.whole]
    transfer = Transfer(selection.folder, limits)
    for attempt in range(1, TRIES_PER_FILE + 1):
        if missing:
            missing = transfer.run(missing, last_try=attempt == TRIES_PER_FILE)
    shutil.rmtree(target / PARTIAL_FOLDER, ignore_errors=True)
    return transfer.bytes


class Transfer:
    """Parts of many files on a few threads."""

    def __init__(self, folder: Folder, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._lock = threading.Lock()
        self.bytes = 0

    def run(self, partials: Sequence[PartialFile], *, last_try: bool) -> list[PartialFile]:
        """Fetch the missing parts; return the files that turned out corrupt and are worth another try.

        Raises:
            CorruptObject: a file is corrupt again.
        """
        corrupt: list[PartialFile] = []
        pool = ThreadPoolExecutor(max_workers=self._limits.parallel_parts, thread_name_prefix="fetch")
        try:
            self._await([pool.submit(action) for action in self._actions(partials, corrupt, last_try)])
        finally:
            # Waits for nothing: after an error or SIGTERM the parts under way are not worth the time.
            pool.shutdown(wait=False, cancel_futures=True)
        return corrupt

    def _actions(
        self, partials: Sequence[PartialFile], corrupt: list[PartialFile], last_try: bool
    ) -> list[Callable[[], None]]:
        work = {partial: partial.open() for partial in partials}
        _require_space(
            partials[0].target, sum(p.span(part)[1] for p, parts in work.items() for part in parts)
        )

        def finish(partial: PartialFile) -> None:
            try:
                partial.finish()
            except CorruptObject as error:
                if last_try:
                    raise
                logger.warning("File is corrupt, fetching it again", extra={"error": error.message})
                corrupt.append(partial)

        return [
            action
            for partial, parts in work.items()
            for action in (
                [bound(self._fetch_part, partial, part, finish) for part in parts] or [bound(finish, partial)]
            )
        ]

    def _fetch_part(self, partial: PartialFile, part: int, finish: Callable[[PartialFile], None]) -> None:
        start, length = partial.span(part)
        file = partial.file
        content = self._folder.read_range(file.name, start=start, length=length, etag=file.etag)
        complete = partial.write(part, content)
        with self._lock:
            self.bytes += length
        if complete:
            finish(partial)

    def _await(self, futures: list[Future[None]]) -> None:
        pending = set(futures)
        while pending:
            done, pending = wait(pending, timeout=PROGRESS_SECONDS, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            if pending:
                logger.info("Fetching", extra={"bytes": self.bytes})


def _require_space(target: Path, needed: int) -> None:
    free = shutil.disk_usage(target).free
    if needed > free:
        raise PodError(
            "PodsFailing",
            f"the model needs {needed} bytes more on the pod's disk, {free} are free; use a larger node disk",
        )

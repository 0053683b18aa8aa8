"""Emissions over all attempts of a run: work that was evicted still counts.

Each attempt keeps its own record in the run's folder, written again and again while it runs. An attempt that
vanished without a word counts with the last record that it left, as Lost.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from modelgarden.api.documents import TRAIN_IMAGE, DocumentError
from modelgarden.api.emissions import AttemptEmissions, EmissionsRecord, ended_record, merge_records
from modelgarden.api.layout import ATTEMPT_EMISSIONS
from modelgarden_pod.energy import EnergyMeter
from modelgarden_pod.errors import PodError, Terminated
from modelgarden_pod.folder import Folder
from modelgarden_pod.gpus import GpuLoad

logger = logging.getLogger(__name__)

SAVE_SECONDS = 60.0
SAVE_PATIENCE_SECONDS = 15.0
"""Short: a record that cannot be saved now is saved with the next one."""


class Attempts:
    """This attempt's meter, and the records of those before it."""

    def __init__(
        self,
        folder: Folder,
        *,
        attempt: str,
        meter: EnergyMeter,
        peers: Callable[[], tuple[EmissionsRecord, ...]] = tuple,
    ) -> None:
        """Take what the other pods of this attempt have told that they spent beside what this one meters."""
        self._folder = folder.child(ATTEMPT_EMISSIONS)
        self._name = f"{attempt}.json"
        self._meter = meter
        self._peers = peers
        self._earlier: tuple[EmissionsRecord, ...] = ()
        self._lock = threading.Lock()
        self._ended = threading.Event()

    @contextmanager
    def metered(self) -> Iterator[None]:
        """Meter what runs inside and keep its record, however it ends.

        Raises:
            TemporaryError: the earlier records cannot be read.
        """
        self._meter.start()
        try:
            self._earlier = read_records(self._folder, without=self._name)
            threading.Thread(target=self._save_regularly, name="emissions", daemon=True).start()
            yield
        except Terminated:
            self._end("Terminated")
            raise
        except BaseException:
            self._end("Failed")
            raise
        self._end("Completed")

    def total(self, reason: str = "Running") -> EmissionsRecord:
        """Return the record over all attempts, this one with the reason."""
        return merge_records(self.records(reason))

    def records(self, reason: str = "Running") -> tuple[EmissionsRecord, ...]:
        """Return the records of all attempts in their order, those of this one's pods last."""
        peers = tuple(ended_record(record, reason=reason) for record in self._peers())
        told = {attempt.id for record in peers for attempt in record.attempts}
        # A pod that came before this one looked may have left a record already.
        earlier = (record for record in self._earlier if not {one.id for one in record.attempts} & told)
        return (*earlier, *peers, self._meter.record(reason))

    def own(self) -> EmissionsRecord:
        """Return what this pod has spent."""
        return self._meter.record()

    @property
    def gpu_load(self) -> GpuLoad | None:
        """What the newest measurement saw of this attempt's GPUs, None where there is nothing to see."""
        return self._meter.gpu_load

    def measure(self) -> None:
        """Measure now: what a process that is about to end has used cannot be seen later."""
        self._meter.energy()

    def save(self, reason: str = "Running") -> None:
        """Write this attempt's record; what fails is logged, as training is worth more."""
        with self._lock:
            if reason == "Running" and self._ended.is_set():
                return
            record = AttemptEmissions.of(self._meter.record(reason))
            try:
                self._folder.with_patience(SAVE_PATIENCE_SECONDS).write(
                    self._name, record.model_dump_json(by_alias=True, exclude_none=True).encode()
                )
            except PodError as error:
                logger.warning("Emissions of this attempt are not saved", extra={"error": error.message})

    def _end(self, reason: str) -> None:
        self._ended.set()
        self.save(reason)
        self._meter.stop()

    def _save_regularly(self) -> None:
        while not self._ended.wait(SAVE_SECONDS):
            self.save()


def read_records(folder: Folder, *, without: str) -> tuple[EmissionsRecord, ...]:
    """Return the records of other attempts in the order in which they ran."""
    records = []
    for file in folder.list():
        if file.name == without or not file.name.endswith(".json"):
            continue
        try:
            record = AttemptEmissions.read(folder.read(file.name), reader=TRAIN_IMAGE).record()
            records.append(ended_record(record, reason="Lost"))
        except DocumentError as error:
            logger.warning(
                "A record of emissions cannot be read", extra={"file": file.name, "error": str(error)}
            )
    return tuple(sorted(records, key=lambda record: record.attempts[0].start_time if record.attempts else ""))

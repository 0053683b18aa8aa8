"""From the files of a dataset to its prepared rows on this machine's disk: in one pass, on all CPUs, in the rows' order.

What comes of it does not depend on the number of processes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from modelgarden.api.finetunejob import DatasetFormat, ObjectiveType
from modelgarden.api.pods import PodDataset
from modelgarden_pod.errors import UserError
from modelgarden_train.data.bad_rows import BadRows
from modelgarden_train.data.learnable import require_learnable
from modelgarden_train.data.pipeline.chunks import Chunks
from modelgarden_train.data.pipeline.encoding import Done, Looker, encode_chunk
from modelgarden_train.data.pipeline.pool import in_order
from modelgarden_train.data.quality.checks import RowChecks
from modelgarden_train.data.quality.sieve import Place, Sieve
from modelgarden_train.data.readers import open_file
from modelgarden_train.data.sources.files import SourceFile
from modelgarden_train.data.spool import Spool

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BYTES_FOR_A_PROCESS: Final = 8 * 1024**2
"""Of files: with less, a process of its own takes longer to start than it saves."""


@dataclass(frozen=True)
class Plan:
    """How rows are prepared."""

    make_tokenizer: Callable[[], PreTrainedTokenizerBase]
    """Called in each process."""
    checks: RowChecks
    """What is looked for in each row."""
    max_bad_rows: int | str = 0
    objective: ObjectiveType = "SFT"
    """That learns the rows."""
    look: Looker | None = None
    """Looks at images, where the model takes them."""
    only_checked: bool = False
    """No training follows."""
    cpus: int = 1


@dataclass(frozen=True)
class Counts:
    """What was read."""

    rows: Counter[int]
    """By the number of their source."""
    bad: BadRows
    formats: tuple[DatasetFormat, ...]
    """Of the sources, as they were found."""


def prepare_rows(
    files: Sequence[SourceFile], dataset: PodDataset, plan: Plan, sieve: Sieve, spool: Spool
) -> Counts:
    """Put the rows that the sieve keeps into the spool, those given for validation first.

    Raises:
        UserError: DatasetInvalid, more rows are wrong than may be, or a file cannot be read; OutOfMemory.
    """
    files = sorted(files, key=lambda file: file.source < len(dataset.sources))
    chunks = Chunks([open_file(file) for file in files], dataset.all_sources)
    hold = partial(
        require_learnable,
        objective=plan.objective,
        vision=plan.look is not None,
        only_checked=plan.only_checked,
    )
    work = partial(encode_chunk, checks=plan.checks, require=hold, look=plan.look)
    workers = min(plan.cpus, sum(file.path.stat().st_size for file in files) // _BYTES_FOR_A_PROCESS)
    bad, rows = BadRows(), Counter[int]()
    for done in in_order(chunks, work, make_tool=plan.make_tokenizer, workers=workers):
        bad.add(done.bad, done.told, remedies=done.remedies)
        rows[done.source] += len(done.ready) + len(done.left_out) + done.bad
        _sift(done, sieve, spool, held_out=done.source >= len(dataset.sources))
    bad.require_few(plan.max_bad_rows, rows=rows.total(), formats=chunks.formats)
    if not rows.total():
        raise UserError("DatasetInvalid", "the dataset has no rows; upload a file with at least two")
    return Counts(rows, bad, tuple(chunks.formats))


def _sift(done: Done, sieve: Sieve, spool: Spool, *, held_out: bool) -> None:
    takes = sieve.holds_out if held_out else sieve.keeps
    for number, finding in done.left_out:
        sieve.leave_out(finding, Place(done.counted, number))
    for row in done.ready:
        place = Place(done.counted, row.number)
        if takes(row.digest, row.findings, place, prompt=row.prompt_digest, sketch=row.sketch):
            spool.add(
                (row.digest, row.prompt_digest),
                row.content,
                tokens=row.tokens,
                source=done.source,
                label=row.label,
            )

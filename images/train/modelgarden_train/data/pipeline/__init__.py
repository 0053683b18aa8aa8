"""From the files of a dataset to its prepared rows on this machine's disk: in one pass, on all CPUs, in the rows' order.

What comes of it does not depend on the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from modelgarden.api.finetunejob import DatasetFormat
from modelgarden.api.pods import PodSource
from modelgarden_pod.errors import UserError
from modelgarden_train.data.bad_rows import BadRows
from modelgarden_train.data.pipeline.chunks import Chunks
from modelgarden_train.data.pipeline.encoding import encode_chunk
from modelgarden_train.data.pipeline.pool import in_order
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
    most_tokens: int
    """Of a row that is kept."""
    max_bad_rows: int | str = 0
    learned: bool = True
    """Whether the rows are trained on, and not only checked."""
    cpus: int = 1


@dataclass(frozen=True)
class Counts:
    """What has become of the rows that were read."""

    rows: int
    bad: int
    duplicates: int
    too_long: int
    formats: tuple[DatasetFormat, ...]
    """Of the sources, as they were found."""

    @property
    def dropped(self) -> dict[str, int]:
        """Rows dropped, by reason."""
        counts = {"BadRow": self.bad, "Duplicate": self.duplicates, "TooLong": self.too_long}
        return {reason: count for reason, count in counts.items() if count}


def prepare_rows(
    files: Sequence[SourceFile], sources: Sequence[PodSource], plan: Plan, spool: Spool
) -> Counts:
    """Put the rows that are kept into the spool: of equal rows the first, none that is too long.

    Raises:
        UserError: DatasetInvalid, more rows are wrong than may be, or a file cannot be read; OutOfMemory.
    """
    chunks = Chunks([open_file(file) for file in files], sources)
    work = partial(encode_chunk, most_tokens=plan.most_tokens, learned=plan.learned)
    workers = min(plan.cpus, sum(file.path.stat().st_size for file in files) // _BYTES_FOR_A_PROCESS)
    bad, seen, right, too_long = BadRows(), set[bytes](), 0, 0
    for done in in_order(chunks, work, make_tool=plan.make_tokenizer, workers=workers):
        bad.add(done.bad, done.told)
        right += len(done.ready)
        for digest, prompt_digest, tokens, content in done.ready:
            if digest in seen:
                continue
            seen.add(digest)
            if content:
                spool.add((digest, prompt_digest), content, tokens=tokens, source=done.source)
            else:
                too_long += 1
    rows = right + bad.count
    bad.require_few(plan.max_bad_rows, rows=rows, formats=chunks.formats)
    if not right:
        raise UserError("DatasetInvalid", "the dataset has no rows; upload a file with at least two")
    return Counts(rows, bad.count, right - len(seen), too_long, tuple(chunks.formats))

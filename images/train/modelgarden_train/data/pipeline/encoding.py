"""What is done with a chunk of rows, in whatever process: read, understood, rendered, tokenized and packed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from modelgarden_train.data.bad_rows import MOST_PLACES
from modelgarden_train.data.batching import in_batches
from modelgarden_train.data.chat import Encoded
from modelgarden_train.data.formats import parse_row
from modelgarden_train.data.packed import packed
from modelgarden_train.data.pairs import encode_rows
from modelgarden_train.data.pipeline.chunks import CHUNK_BYTES, Chunk
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.data.quality.checks import RowChecks
from modelgarden_train.data.quality.findings import Finding, goes_on
from modelgarden_train.data.quality.sieve import Place
from modelgarden_train.data.rows import EmptyAnswerError, Row, RowError, UnansweredError, place_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Looker(Protocol):
    """Looks at the images of rows."""

    def looked_at(self, row: Row, beside: str) -> Row:
        """Return a row with the SHA-256 of its images; `beside` is the URI of the folder of its file.

        Raises:
            RowError: an image is not there, or none.
        """
        ...

    def expanded(self, row: Row, encoded: Encoded | RowError) -> Encoded | RowError:
        """Return a row with as many tokens for each image as the model gives it, or what is wrong with it."""
        ...


class Ready(NamedTuple):
    """A row that is right."""

    number: int
    digest: bytes
    prompt_digest: bytes
    tokens: int
    label: bool | None
    findings: tuple[Finding, ...]
    sketch: bytes
    """What near duplicates are found by, where they are looked for."""
    content: bytes
    """It, packed; nothing of a row that does not go on for what was found in it."""


@dataclass
class Done:
    """What has become of a chunk."""

    source: int
    counted: str
    """What a row's number is counted in, as people look for it: `rows.jsonl, line`."""
    ready: list[Ready] = field(default_factory=list)
    left_out: list[tuple[int, Finding]] = field(default_factory=list)
    """Numbers of the rows that are left out for having no answer."""
    bad: int = 0
    remedies: set[str] = field(default_factory=set)
    """What to do about some of the bad rows."""
    told: list[str] = field(default_factory=list)
    """Of the first bad rows, where they stand and what is wrong."""

    def refuse(self, chunk: Chunk, number: int, error: RowError) -> None:
        """Count a bad row."""
        self.bad += 1
        if error.remedy:
            self.remedies.add(error.remedy)
        if len(self.told) < MOST_PLACES:
            self.told.append(f"{place_of(chunk.file, number, chunk.unit)}: {error}")


def encode_chunk(
    tokenizer: PreTrainedTokenizerBase,
    chunk: Chunk,
    *,
    checks: RowChecks,
    require: Callable[[Row], None],
    look: Looker | None = None,
) -> Done:
    """Return what becomes of a chunk's rows, in their order; `require` refuses rows of a kind that is not learned.

    Images are looked at where there is one to look at them; without it nothing opens them.

    Raises:
        UserError: DatasetInvalid, the objective does not learn rows of this kind; ModelInvalid, the template fails.
    """
    done = Done(chunk.number, Place.of(chunk.file, 0, chunk.unit).counted)
    problems: list[tuple[int, RowError]] = []
    rows = _understood(chunk, problems, require, look)
    for batch in in_batches(rows, size=lambda row: row.characters, most=CHUNK_BYTES):
        right: list[tuple[Row, Encoded]] = []
        for row, encoded in zip(batch, encode_rows(tokenizer, batch), strict=True):
            whole = look.expanded(row, encoded) if look else encoded
            if isinstance(whole, RowError):
                problems.append((row.line, whole))
            else:
                right.append((row, whole))
        done.ready.extend(_checked(right, checks))
    for number, error in sorted(problems, key=lambda problem: problem[0]):
        if isinstance(error, EmptyAnswerError) and checks.quality.action("EmptyAnswer") == "Drop":
            why = str(error) if isinstance(error, UnansweredError) else ""
            done.left_out.append((number, Finding("EmptyAnswer", why)))
        else:
            done.refuse(chunk, number, error)
    return done


def _understood(
    chunk: Chunk,
    problems: list[tuple[int, RowError]],
    require: Callable[[Row], None],
    look: Looker | None,
) -> Iterator[Row]:
    source = chunk.source
    for record in chunk.records:
        try:
            row = parse_row(record.fields(), source.format, source.columns)
            require(row)
            if look:
                row = look.looked_at(row, chunk.beside)
        except RowError as error:
            problems.append((record.number, error))
            continue
        yield replace(row, line=record.number)


def _checked(right: Sequence[tuple[Row, Encoded]], checks: RowChecks) -> Iterator[Ready]:
    rows = [row for row, _ in right]
    findings = checks.findings(rows, [encoded.longest for _, encoded in right])
    for (row, encoded), found, sketch in zip(right, findings, checks.sketches(rows), strict=True):
        prepared = _prepared(row, encoded)
        content = packed(prepared) if goes_on(found, checks.quality) else b""
        yield Ready(
            row.line, row.digest, row.prompt_digest, prepared.tokens, row.label, found, sketch, content
        )


def _prepared(row: Row, encoded: Encoded) -> PreparedRow:
    return PreparedRow(
        input_ids=encoded.ids,
        spans=encoded.spans,
        question=row.question,
        answer=row.answer,
        rejected_ids=encoded.rejected_ids,
        label=row.label,
        images=row.images,
    )

"""Writes the quickstart's dataset: questions about a small shop with the SQL that answers them.

Keeps a question only if its answer is not empty, if no other question of its kind has the same answer, and if every
small mistake in its query would change the answer: a wrong query cannot be taken for a right one.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from hack.demo import shop
from hack.demo.query import Query
from hack.demo.questions import FRAMES, Frame, draw
from hack.demo.score import Database, Row, same_rows

SEED: Final = 20
ROWS_PER_FRAME: Final = 150
LEAST_OF_A_KIND: Final = 4
MOST_MISSES: Final = 1_000
QUICKSTART: Final = Path(__file__).resolve().parents[2] / "examples" / "quickstart"
SCHEMA_FILE: Final = "schema.sql"
DATASET_FILE: Final = "text-to-sql.jsonl"


class Example(NamedTuple):
    """One row of the dataset."""

    prompt: str
    completion: str


def generate(database: Database, seed: int) -> list[Example]:
    """Return the dataset in random order; the same seed gives the same rows."""
    random_ = random.Random(seed)
    kept = [pair for frame in FRAMES for pair in _of_frame(frame, database, random_)]
    kinds = Counter(query.kind() for _, query in kept)
    examples = [
        Example(prompt, query.sql()) for prompt, query in kept if kinds[query.kind()] >= LEAST_OF_A_KIND
    ]
    random_.shuffle(examples)
    return examples


def _of_frame(frame: Frame, database: Database, random_: random.Random) -> list[tuple[str, Query]]:
    """Draw questions of one frame until there are enough, or no new one turns up."""
    kept: list[tuple[str, Query]] = []
    prompts: set[str] = set()
    answers: set[tuple[str, str]] = set()
    misses = 0
    while len(kept) < ROWS_PER_FRAME and misses < MOST_MISSES:
        prompt, query = draw(frame, random_)
        answer = database.rows(query.sql())
        key = (query.kind(), repr(answer if query.order_by else sorted(answer, key=repr)))
        if prompt in prompts or key in answers or not is_telling(query, answer, database):
            misses += 1
            continue
        misses = 0
        prompts.add(prompt)
        answers.add(key)
        kept.append((prompt, query))
    return kept


def is_telling(query: Query, answer: list[Row], database: Database) -> bool:
    """Tell whether the answer is there, is the only one, and changes with every small mistake in the query."""
    if not answer or any(cell is None for row in answer for cell in row) or answer == [(0,)]:
        return False
    ordered = query.order_by is not None
    if ordered and any(database.rows(tied.sql()) != answer for tied in query.tie_breaks()):
        return False
    return not any(
        same_rows(database.rows(miss.sql()), answer, ordered=ordered) for miss in query.near_misses()
    )


def files(seed: int = SEED) -> dict[str, str]:
    """Return the text of the schema and of the dataset by file name."""
    schema = shop.schema_sql(seed)
    database = Database(schema)
    try:
        examples = generate(database, seed)
    finally:
        database.close()
    return {SCHEMA_FILE: schema, DATASET_FILE: "".join(_lines(examples))}


def _lines(examples: list[Example]) -> Iterator[str]:
    return (json.dumps(example._asdict()) + "\n" for example in examples)


def main() -> int:
    """Write the files, or with --check tell whether the committed ones are current."""
    parser = argparse.ArgumentParser(prog="python -m hack.demo.dataset", description=__doc__)
    parser.add_argument("--output", type=Path, default=QUICKSTART, help="folder of the files")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not current")
    arguments = parser.parse_args()
    stale = []
    for name, text in files().items():
        path = arguments.output / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not arguments.check:
            path.write_text(text, encoding="utf-8")
    if arguments.check and stale:
        print(f"not current: {', '.join(stale)}; run python -m hack.demo.dataset", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

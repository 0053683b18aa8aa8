"""Near duplicates of texts: MinHash (rensa) over runs of five characters, found by bands and held against an estimate.

Runs of characters rather than words, as Chinese and Japanese have no spaces; five, as Leskovec, Rajaraman and Ullman
(Mining of Massive Datasets, 3.2.2) take for short documents. Case and the amount of white space make no difference.

A text's sketch takes 256 bytes in memory, so that a million take 256 MB: the low byte of each of its 128 values (b-bit
minwise hashing: Li and König, 2010) and a hash of each of 16 bands. Two texts with 80 % of their runs in common share a
band with a probability of 95 %, with 85 % of 99.4 %, with 90 % of 99.99 %.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, Final

_RUN: Final = 5
_VALUES: Final = 128
_BANDS: Final = 16
_SEED: Final = 42
_BY_CHANCE: Final = 1 / 256
"""Share of values of unlike texts whose low bytes are equal."""
_NEIGHBOURS: Final = 16
"""Texts of a band's bucket that each one is held against, beside the bucket's first: those right before it."""
_COMPARED: Final = 65_536
"""Pairs that are compared at a time."""
_MULTIPLIERS: Final = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93)
_MORE_MULTIPLIERS: Final = (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53, 0xA0761D6478BD642F, 0xE7037ED1A0B428DB)


def sketches(texts: Sequence[str]) -> list[bytes]:
    """Return what near duplicates are found by, of each text; the same texts give the same bytes everywhere."""
    import numpy
    from rensa import RMinHash

    if not texts:
        return []
    hashes = [_runs(text) for text in texts]
    offsets = numpy.cumsum([0, *map(len, hashes)], dtype=numpy.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(numpy.concatenate(hashes), offsets, _VALUES, _SEED)
    values = numpy.array(matrix.to_rows(), dtype=numpy.uint32)
    multipliers = numpy.array((*_MULTIPLIERS, *_MORE_MULTIPLIERS), dtype=numpy.uint64)
    grouped = values.reshape(len(texts), _BANDS, _VALUES // _BANDS).astype(numpy.uint64)
    bands = (grouped * multipliers).sum(axis=2, dtype=numpy.uint64)
    return [
        low.tobytes() + band.tobytes() for low, band in zip(values.astype(numpy.uint8), bands, strict=True)
    ]


def _runs(text: str) -> Any:
    """Return a hash of each run of characters of a text; of a short one it is the text's own."""
    import numpy

    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    characters = numpy.frombuffer(plain.ljust(_RUN).encode("utf-32-le", "surrogatepass"), dtype=numpy.uint32)
    runs = numpy.lib.stride_tricks.sliding_window_view(characters.astype(numpy.uint64), _RUN)
    hashes = (runs * numpy.array(_MULTIPLIERS[:1] + _MORE_MULTIPLIERS, dtype=numpy.uint64)).sum(axis=1)
    hashes ^= hashes >> numpy.uint64(29)
    return hashes * numpy.uint64(_MULTIPLIERS[1])


class NearDuplicates:
    """Takes sketches of texts in their order, then tells which are near duplicates of an earlier text."""

    def __init__(self, threshold: float) -> None:
        self._least = math.ceil(_VALUES * (threshold + (1 - threshold) * _BY_CHANCE) - 1e-9)
        self._sketches = bytearray()

    def add(self, sketch: bytes) -> None:
        """Take the next text's."""
        self._sketches += sketch

    def found(self) -> dict[int, int]:
        """Return the texts that are near duplicates, each with the first it is one of: by their numbers, from 0.

        That one is none itself: of a chain in which each is like the next, those are left that are like none before them.
        """
        import numpy

        table = numpy.frombuffer(self._sketches, dtype=numpy.uint8).reshape(-1, _VALUES + 8 * _BANDS)
        pairs = [pair for band in range(_BANDS) for pair in self._pairs(table, band)]
        if not pairs:
            return {}
        found: dict[int, int] = {}
        for later, earlier in numpy.unique(numpy.concatenate(pairs), axis=0).tolist():
            if later not in found and earlier not in found:
                found[later] = earlier
        return found

    def _pairs(self, table: Any, band: int) -> Iterator[Any]:
        """Yield pairs (later, earlier) of like texts among those that share a band."""
        import numpy

        start = _VALUES + 8 * band
        hashes = numpy.ascontiguousarray(table[:, start : start + 8]).view(numpy.uint64)[:, 0]
        order = numpy.argsort(hashes, kind="stable")
        ordered = hashes[order]
        places = numpy.arange(len(order))
        begins = numpy.concatenate(([True], ordered[1:] != ordered[:-1]))
        first = numpy.maximum.accumulate(numpy.where(begins, places, 0))
        open_places = places[places > first]
        for distance in range(_NEIGHBOURS + 1):
            other = open_places - distance if distance else first[open_places]
            inside = other >= first[open_places]
            if not inside.any():
                break
            open_places, other = open_places[inside], other[inside]
            alike = self._alike(table, order[open_places], order[other])
            yield numpy.stack([order[open_places[alike]], order[other[alike]]], axis=1)
            open_places = open_places[~alike]

    def _alike(self, table: Any, later: Any, earlier: Any) -> Any:
        import numpy

        same = [
            (
                table[later[at : at + _COMPARED], :_VALUES] == table[earlier[at : at + _COMPARED], :_VALUES]
            ).sum(axis=1)
            for at in range(0, len(later), _COMPARED)
        ]
        return numpy.concatenate(same) >= self._least

"""The MD5 of a file, as DVC has it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

_CHUNK_BYTES: Final = 2**20
"""That DVC reads at once: before its version 3 it tells by the beginning of each whether it is of a text."""
_BEGINNING_BYTES: Final = 512
_OF_TEXTS: Final = bytes(range(32, 127)) + b"\n\r\t\f\b"
_MOST_OTHERS: Final = 0.3
"""Share of its bytes that may be others."""


def md5_of(path: Path, *, former: bool) -> str:
    """Return the MD5 of a file in hex; the former one, of before DVC 3, has lines of texts end with LF alone.

    As `dvc_data.hashfile.hash` computes both.
    """
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            as_unix = former and _is_text(chunk[:_BEGINNING_BYTES])
            digest.update(chunk.replace(b"\r\n", b"\n") if as_unix else chunk)
    return digest.hexdigest()


def _is_text(block: bytes) -> bool:
    return b"\0" not in block and len(block.translate(None, _OF_TEXTS)) <= _MOST_OTHERS * len(block)

"""What a file is, by its first bytes and its name: what cannot be read is refused by its own name. Pure."""

from __future__ import annotations

from typing import Final, Literal

from modelgarden_train.data.readers.records import unreadable

Container = Literal["JSON Lines", "JSON", "CSV", "Parquet"]

HEAD_BYTES: Final = 64 * 1024
"""Of a file that are looked at."""
_COMPRESSED: Final = (".gz", ".gzip", ".zst", ".zstd")
_TABLES: Final = (".csv", ".tsv")
_LINES: Final = (".jsonl", ".ndjson", ".jl")
_UNKNOWN: Final = "upload JSON Lines, JSON, CSV or Parquet, each as it is or as gzip or zstd"
_OTHERS: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"PK\x03\x04", "a ZIP archive (as XLSX is); unpack it"),
    (0, b"PK\x05\x06", "an empty ZIP archive"),
    (0, b"BZh", "a bzip2 file; compress it with gzip or zstd instead"),
    (0, b"\xfd7zXZ\x00", "an xz file; compress it with gzip or zstd instead"),
    (0, b"\x04\x22\x4d\x18", "an lz4 file; compress it with gzip or zstd instead"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it"),
    (0, b"Rar!", "a RAR archive; unpack it"),
    (0, b"\x1f\x8b", "compressed twice; unpack it once"),
    (0, b"\x28\xb5\x2f\xfd", "compressed twice; unpack it once"),
    (257, b"ustar", "a tar archive; unpack it"),
    (0, b"PARE", "an encrypted Parquet file; write it without encryption"),
    (0, b"ARROW1", "an Arrow file; write it as Parquet"),
    (0, b"Obj\x01", "an Avro file; write it as Parquet"),
    (0, b"SQLite format 3\x00", "an SQLite database; export its table as CSV"),
    (0, b"\x89HDF", "an HDF5 file; write it as Parquet"),
    (0, b"%PDF", "a PDF"),
    (0, b"\xd0\xcf\x11\xe0", "an old Office document; export it as CSV"),
    (0, b"\xff\xfe", "UTF-16 text; save it as UTF-8"),
    (0, b"\xfe\xff", "UTF-16 text; save it as UTF-8"),
)
"""Where others have which bytes, and what they are."""


def container_of(name: str, head: bytes) -> Container:
    """Return what a file of this name holds that begins, once decompressed, with these bytes.

    Raises:
        UserError: DatasetInvalid, nothing that can be read.
    """
    for place, magic, what in _OTHERS:
        if head[place:].startswith(magic):
            raise unreadable(name, f"the file is {what}")
    if head.startswith(b"PAR1"):
        return "Parquet"
    plain = _without_compression(name.lower())
    if plain.endswith(".parquet"):
        raise unreadable(name, f"the file is named Parquet and is none; {_UNKNOWN}")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if plain.endswith(_TABLES) and not _is_json(text):
        return "CSV"
    if text.startswith(b"["):
        return "JSON"
    if text.startswith(b"{"):
        return "JSON Lines" if plain.endswith(_LINES) or _begins_with_a_row(text) else "JSON"
    if plain.endswith((*_LINES, ".json")) or not text:
        return "JSON Lines"
    raise unreadable(
        name,
        f"neither its name nor its first bytes tell what the file is; {_UNKNOWN}; of a folder with other files name those "
        "with rows, such as folder/*.jsonl",
    )


def _without_compression(name: str) -> str:
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    return name


def _is_json(text: bytes) -> bool:
    """Tell whether a file that is named otherwise begins with JSON: a table's header may begin with a bracket too."""
    first = text.partition(b"\n")[0].strip()
    return first in (b"[", b"{") or first.startswith((b'{"', b'[{"'))


def _begins_with_a_row(text: bytes) -> bool:
    """Tell whether the first line is a row, right or wrong, and not the beginning of an object over many lines."""
    first, end, _ = text.partition(b"\n")
    return not end or not first.rstrip().endswith((b"{", b"[", b","))

"""The bytes of a file, whether it is compressed or not; how far it may swell is bounded."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from modelgarden_pod.errors import UserError
from modelgarden_train.data.readers.records import unreadable

_MAGIC: Final = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
_BUFFER_BYTES: Final = 1024**2
MOST_TIMES: Final = 200
"""That a file may swell by: texts become some 3 to 20 times as long, a file of one row over and over some 150 times."""
FREE_BYTES: Final = 256 * 1024**2
"""That any file may have, however small it is when compressed."""


@contextmanager
def open_stream(path: Path, name: str) -> Iterator[io.BufferedReader[Any]]:
    """Open a file for reading what it holds; its first bytes say whether it is compressed.

    Reading raises:
        UserError: DatasetInvalid, a compressed file is cut off, damaged, or far larger than it looks.
    """
    with path.open("rb") as plain:
        head = plain.peek(4)
        codec = next((codec for codec, magic in _MAGIC.items() if head.startswith(magic)), None)
        if codec is None:
            yield plain
            return
    raw = _Decompressed(path, name, codec)
    with io.BufferedReader(raw, _BUFFER_BYTES) as stream:
        yield stream


class _Decompressed(io.RawIOBase):
    """A compressed file of several parts, as gzip and zstd have them, as one stream."""

    def __init__(self, path: Path, name: str, codec: str) -> None:
        import pyarrow

        self._name, self._codec = name, codec
        self._most = max(FREE_BYTES, MOST_TIMES * path.stat().st_size)
        self._read = 0
        self._error: UserError | None = None
        self._stream: Any = pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), codec)

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with what comes next."""
        if self._error is not None:
            raise self._error
        try:
            content: bytes = self._stream.read(len(buffer))
        except (OSError, ValueError, EOFError) as error:
            self._error = unreadable(
                self._name, f"the {self._codec} file is cut off or damaged; upload it again ({error})"
            )
            raise self._error from error
        self._read += len(content)
        if self._read > self._most:
            self._error = unreadable(
                self._name,
                f"the {self._codec} file holds more than {MOST_TIMES} times its own size; upload it uncompressed if "
                "that is meant",
            )
            raise self._error
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._stream.close()
        super().close()

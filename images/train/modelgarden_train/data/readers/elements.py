"""The elements of a JSON list, and objects that follow each other over many lines: one in memory at a time.

Where an element ends is what the `json` module says of the text so far. A text that is no JSON cannot be read on, as
nothing tells where its next element begins.
"""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterator
from typing import Final

from modelgarden_pod.errors import UserError
from modelgarden_train.data.readers.records import Record, unreadable
from modelgarden_train.data.rows import RowError
from modelgarden_train.data.values import LONGEST_ROW_BYTES, TOO_DEEP, TOO_LONG

_PIECE_BYTES: Final = 256 * 1024
_SPACE: Final = re.compile(r"[ \t\r\n]*")
# Numbers are only passed over here: those that Python does not convert are the row's fault, not the file's.
_DECODER: Final = json.JSONDecoder(parse_int=len, parse_float=len)


def read_elements(stream: io.BufferedIOBase, name: str) -> Iterator[Record]:
    """Yield the elements of a list, or the objects of a text without one.

    Raises:
        UserError: DatasetInvalid, the text is no JSON.
    """
    text = _Text(stream, name)
    listed = text.next_character() == "["
    if listed:
        text.skip(1)
    number = 0
    while (following := text.next_character()) and not (listed and number == 0 and following == "]"):
        number += 1
        yield text.element(number)
        if listed:
            following = text.next_character()
            if following == "]":
                break
            if following != ",":
                why = (
                    "a comma is missing behind it"
                    if following
                    else "the list does not end; it is cut off, upload it again"
                )
                raise text.broken(number, why)
            text.skip(1)
    if listed:
        text.finish(number)


class _Text:
    """A text of which a part is in memory. Bytes that are not UTF-8 are kept for what reads the element."""

    def __init__(self, stream: io.BufferedIOBase, name: str) -> None:
        self._stream, self._name = stream, name
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="surrogateescape")
        self._text = ""
        self._place = 0
        self._line = 1
        """Of the place."""
        self._ended = False

    def next_character(self) -> str:
        """Go past white space and return what follows, nothing at the end."""
        while True:
            found = _SPACE.match(self._text, self._place)
            self.skip((found.end() if found else self._place) - self._place)
            if self._place < len(self._text) or not self._more():
                return self._text[self._place : self._place + 1]

    def skip(self, characters: int) -> None:
        """Go on."""
        self._line += self._text.count("\n", self._place, self._place + characters)
        self._place += characters

    def element(self, number: int) -> Record:
        """Return the element that begins here, and go past it.

        Raises:
            UserError: DatasetInvalid, there is none.
        """
        end = self._end(number)
        content = self._text[self._place : end].encode("utf-8", "surrogateescape")
        self.skip(end - self._place)
        if len(content) > LONGEST_ROW_BYTES:
            return Record(number, RowError(TOO_LONG), 0)
        return Record(number, content, len(content))

    def finish(self, number: int) -> None:
        """Hold that the list ends here and nothing follows it.

        Raises:
            UserError: DatasetInvalid, it does not.
        """
        if self.next_character() != "]":
            raise self.broken(number, "the list does not end; it is cut off, upload it again")
        self.skip(1)
        if self.next_character():
            raise self.broken(number, "text follows the list's end")

    def broken(self, number: int, why: str) -> UserError:
        """Return the error of a text that cannot be read on from here."""
        return unreadable(self._name, f"element {number} (line {self._line}): {why}")

    def _end(self, number: int) -> int:
        """Return where the element ends; as long as the text so far has no whole one, more of it is read."""
        while True:
            try:
                _, end = _DECODER.raw_decode(self._text, self._place)
                if end < len(self._text) or not self._more():
                    return end
            except json.JSONDecodeError as error:
                if len(self._text) - self._place > 2 * LONGEST_ROW_BYTES:
                    raise self.broken(number, f"no JSON, or {TOO_LONG}") from error
                if not self._more():
                    why = f"line {self._line_of(error.pos)}, column {error.colno} is not JSON: {error.msg}"
                    raise unreadable(self._name, f"element {number}, {why}") from error
            except RecursionError as error:
                raise self.broken(number, TOO_DEEP) from error

    def _line_of(self, place: int) -> int:
        return self._line + self._text.count("\n", self._place, place)

    def _more(self) -> bool:
        """Read on, twice as much as is there so that little is looked at often; tell whether there was more."""
        kept = self._text[self._place :]
        while not self._ended:
            piece = self._stream.read(max(_PIECE_BYTES, len(kept)))
            self._ended = not piece
            if added := self._decoder.decode(piece, final=not piece):
                self._text, self._place = kept + added, 0
                return True
        return False

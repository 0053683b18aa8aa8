"""What counts as an image, and which pixels a model is shown of it."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

from modelgarden_train.data.images.pictures import MOST_PIXELS, picture_of, size_of
from modelgarden_train.data.rows import RowError
from tests.unit.train.data.images.pngs import png


def bomb(width: int, height: int) -> bytes:
    """Return the head of a PNG that says it has so many pixels."""

    def part(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + part(b"IHDR", head)
        + part(b"IDAT", zlib.compress(b"\0" * 64))
        + part(b"IEND", b"")
    )


def test_an_image_has_a_height_and_a_width() -> None:
    assert size_of(png(56, 28)) == (28, 56)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_the_usual_formats_are_read(form: str) -> None:
    content = io.BytesIO()
    Image.new("RGB", (40, 30), (9, 9, 9)).save(content, form)

    assert size_of(content.getvalue()) == (30, 40)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is no image in one of the formats PNG, JPEG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is no image in one of the formats"),
        (png()[:50], "cannot be decoded"),
        (bomb(50_000, 50_000), f"has 50000 x 50000 pixels, more than {MOST_PIXELS // 1_000_000} million"),
        (bomb(2**31 - 1, 2**31 - 1), "pixels, more than"),
        (png(1, 300), "no side is more than 200 times the other"),
    ],
    ids=["nothing", "SVG", "cut off", "bomb", "largest bomb", "oblong"],
)
def test_what_is_no_image_says_why(content: bytes, told: str) -> None:
    with pytest.raises(RowError) as raised:
        size_of(content)

    assert told in str(raised.value)


def test_what_is_transparent_is_white_as_in_vllm() -> None:
    seen = picture_of(png(mode="RGBA", colour=(200, 30, 30, 0)))

    assert (seen.mode, seen.getpixel((0, 0))) == ("RGB", (255, 255, 255))


def test_a_grey_image_has_three_colours() -> None:
    assert picture_of(png(mode="L", colour=7)).getpixel((0, 0)) == (7, 7, 7)


def test_an_image_is_shown_as_its_pixels_lie() -> None:
    turned = Image.new("RGB", (40, 20))
    marks = turned.getexif()
    marks[0x0112] = 6  # turn it by 90 degrees to look at it
    content = io.BytesIO()
    turned.save(content, "JPEG", exif=marks)

    assert (size_of(content.getvalue()), picture_of(content.getvalue()).size) == ((20, 40), (40, 20))

"""An image's bytes as the picture that a model sees, or what is wrong with them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from modelgarden_train.data.rows import RowError

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST_FILE_BYTES: Final = 20 * 1024**2
MOST_PIXELS: Final = 50_000_000
"""Of an image before it is made smaller: 150 MB in memory. A few kilobytes of PNG can hold any number of them."""
MOST_OBLONG: Final = 200
"""Sides of an image to each other; the processors of Qwen's models refuse more (`smart_resize` of Transformers)."""
FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""As Pillow names them."""


def size_of(content: bytes) -> tuple[int, int]:
    """Return height and width of an image in pixels, once all of it was decoded.

    Raises:
        RowError: it is none, damaged, too large or too oblong.
    """
    picture = _opened(content)
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise RowError(
            f"has {width} x {height} pixels, more than {MOST_PIXELS // 1_000_000} million; make it smaller"
        )
    if max(width, height) > MOST_OBLONG * min(width, height):
        raise RowError(
            f"has {width} x {height} pixels; cut it so that no side is more than {MOST_OBLONG} times the other"
        )
    try:
        picture.load()
    except Exception as error:  # each of Pillow's decoders raises its own
        raise RowError(f"cannot be decoded ({_first_line(error)}); upload it whole") from error
    return height, width


def picture_of(content: bytes) -> Image:
    """Return an image of `size_of` in RGB, as vLLM decodes it: the first frame, as its pixels lie, on white where it is
    transparent.
    """
    from PIL import Image

    picture = _opened(content)
    if picture.mode == "RGBA":
        ground = Image.new("RGB", picture.size, (255, 255, 255))
        ground.paste(picture, mask=picture.getchannel("A"))
        return ground
    return picture.convert("RGB")


def _opened(content: bytes) -> Image:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # size_of has a limit of its own, and says what to do
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except Exception as error:  # each of Pillow's plugins raises its own
        raise RowError(f"is no image in one of the formats {', '.join(FORMATS)}; convert it") from error


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:100]

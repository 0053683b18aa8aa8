"""Images for the tests, made in memory."""

from __future__ import annotations

import base64
import io

from PIL import Image


def png(width: int = 56, height: int = 28, *, mode: str = "RGB", colour: object = (200, 30, 30)) -> bytes:
    content = io.BytesIO()
    Image.new(mode, (width, height), colour).save(content, "PNG")  # type: ignore[arg-type]
    return content.getvalue()


def inline(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"

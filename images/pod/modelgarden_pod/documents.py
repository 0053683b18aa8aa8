"""Documents in storage, read as this image's version can; the errors are a pod's."""

from __future__ import annotations

from typing import TypeVar

from modelgarden.api.documents import Document, DocumentError, NewerDocument
from modelgarden_pod.errors import UserError

D = TypeVar("D", bound=Document)


def read_document(kind: type[D], content: bytes, *, where: str, reader: str) -> D:
    """Return the document that lies at a place, read by the image named as reader.

    Raises:
        UserError: UpgradeNeeded, a newer version wrote it; ArtifactInvalid, it is damaged.
    """
    try:
        return kind.read(content, reader=reader)
    except NewerDocument as error:
        raise UserError("UpgradeNeeded", f"{where} cannot be read. {error}") from error
    except DocumentError as error:
        raise UserError("ArtifactInvalid", f"{where} cannot be read: {error}") from error

"""The configuration of a command: JSON from a file, else from the environment."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TypeVar

from modelgarden.api.documents import Configuration, DocumentError, NewerDocument
from modelgarden.api.names import CONFIG_VARIABLE
from modelgarden_pod.errors import UserError

logger = logging.getLogger(__name__)

T = TypeVar("T", bound=Configuration)


def read_config(kind: type[T], file: Path | None, *, reader: str) -> T:
    """Return the configuration from the file, or from MODELGARDEN_CONFIG where no file is given.

    Raises:
        UserError: InvalidConfiguration, there is none or a field is wrong; UpgradeNeeded, this image is too old for it.
    """
    try:
        reading = kind.reading(_text(file), reader=reader)
    except NewerDocument as error:
        raise UserError("UpgradeNeeded", f"the configuration cannot be read. {error}") from error
    except DocumentError as error:
        raise UserError("InvalidConfiguration", f"the configuration is wrong: {error}") from error
    if reading.left_out:
        logger.warning(
            "Fields that this version does not know are left out", extra={"fields": reading.left_out}
        )
    return reading.document


def _text(file: Path | None) -> str:
    if file is not None:
        try:
            return file.read_text()
        except OSError as error:
            raise UserError("InvalidConfiguration", f"{file} cannot be read: {error.strerror}") from error
    if CONFIG_VARIABLE in os.environ:
        return os.environ[CONFIG_VARIABLE]
    raise UserError(
        "InvalidConfiguration", f"give --config FILE or the environment variable {CONFIG_VARIABLE}"
    )

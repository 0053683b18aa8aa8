"""The configuration of a command: JSON from a file, else from the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from modelgarden.api.names import CONFIG_VARIABLE
from modelgarden_pod.errors import UserError

T = TypeVar("T", bound=BaseModel)


def read_config(kind: type[T], file: Path | None) -> T:
    """Return the configuration from the file, or from MODELGARDEN_CONFIG where no file is given.

    Raises:
        UserError: InvalidConfiguration, there is none or a field is wrong.
    """
    try:
        return kind.model_validate_json(_text(file))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'the configuration'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise UserError("InvalidConfiguration", f"the configuration is wrong: {problems}") from error


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

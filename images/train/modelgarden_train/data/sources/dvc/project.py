"""The DVC project that a pointer belongs to: where its settings lie, and which remote they name. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from configparser import ConfigParser
from configparser import Error as SettingsError
from typing import Final

from modelgarden.api.layout import Location
from modelgarden_pod.errors import UserError

LARGEST_SETTINGS_BYTES: Final = 1024**2
_SETTINGS: Final = ".dvc/config"


def places_of_settings(pointer: str) -> Iterator[str]:
    """Yield the URIs at which the settings of a pointer's project may lie, from its own folder up to the bucket or
    volume."""
    scheme, separator, path = pointer.partition("://")
    parts = path.split("/")[:-1]
    for length in range(len(parts), 0, -1):
        yield f"{scheme}{separator}{'/'.join(parts[:length])}/{_SETTINGS}"


def remote_of(settings: bytes, uri: str, name: str | None) -> str:
    """Return the URI of a project's remote, of the default one where no name is given.

    Raises:
        UserError: DatasetInvalid, the settings at this URI name none in S3 or GCS.
    """
    known = _sections(settings, uri)
    name = name or known.get("core", {}).get("remote")
    if not name:
        raise UserError(
            "DatasetInvalid",
            f"{uri} names no default remote; set one with `dvc remote default` and upload the file",
        )
    remote = known.get(f'remote "{name.lower()}"')
    if remote is None:
        raise UserError(
            "DatasetInvalid",
            f"{uri} has no remote {name!r}; add it with `dvc remote add`, without --local or --global, and upload the file",
        )
    try:
        return str(Location.parse(remote.get("url", "")))
    except ValueError as error:
        raise UserError(
            "DatasetInvalid",
            f"the remote {name!r} of {uri} is not in S3 or GCS (s3://bucket/path, gs://bucket/path); push the data to one "
            "that is, or name the data itself as the source",
        ) from error


def _sections(settings: bytes, uri: str) -> dict[str, dict[str, str]]:
    """Return the settings by section and name, both in lower case as DVC has them."""
    parser = ConfigParser(
        delimiters=("=",), comment_prefixes=("#",), inline_comment_prefixes=("#",), interpolation=None
    )
    try:
        if len(settings) > LARGEST_SETTINGS_BYTES:
            raise ValueError("too large")
        # Indented lines are no longer ones for DVC.
        parser.read_file(line.strip() for line in settings.decode().splitlines())
    except (SettingsError, ValueError) as error:
        # The library's words show the lines, which may have keys of the remote.
        raise UserError(
            "DatasetInvalid", f"{uri} cannot be read as settings of DVC; upload the file as DVC writes it"
        ) from error
    return {
        section.strip("'").lower(): {option: value.strip("\"'") for option, value in parser[section].items()}
        for section in parser.sections()
    }

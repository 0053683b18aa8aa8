"""What a pointer file says, and the list of a folder's files that one may lead to. Pure.

A pointer is what `dvc add` writes beside the data (https://dvc.org/doc/user-guide/project-structure/dvc-files), the list
what it keeps in the place of a folder. Both may come from anybody.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Final

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from modelgarden.api.selection import Selection
from modelgarden_pod.errors import UserError

LARGEST_POINTER_BYTES: Final = 64 * 1024
LARGEST_LIST_BYTES: Final = 16 * 1024**2
_EMPTY: Final = "d41d8cd98f00b204e9800998ecf8427e"
"""MD5 of a file without content."""
_REMEDY: Final = "upload it as `dvc add` writes it, or name the data itself as the source"
_HASH: Final = "md5"
"""As DVC 3 names it; before that a pointer named none."""
_FOLDER: Final = ".dir"
_Path = Annotated[str, Field(min_length=1, max_length=1024)]


@dataclass(frozen=True)
class Tracked:
    """A file or a folder that DVC keeps."""

    name: str
    """URI at which it would lie beside its pointer."""
    md5: str
    """Of a file, or of the list of a folder's files."""
    is_folder: bool
    former: bool
    """Kept as DVC did before its version 3."""
    pointer: str
    """URI of the pointer."""
    remote: str | None = None
    """Name of the remote that it lies in; None for the project's default."""

    @property
    def key(self) -> str:
        """Where it lies below the remote."""
        place = f"{self.md5[:2]}/{self.md5[2:]}{_FOLDER if self.is_folder else ''}"
        return place if self.former else f"files/md5/{place}"


class _Output(BaseModel):
    path: _Path
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}(\.dir)?$")] | None = None
    hash: str | None = None
    remote: _Path | None = None
    cache: bool = True
    push: bool = True
    cloud: object = None
    files: object = None


class _Dependency(BaseModel):
    repo: object = None


class _Pointer(BaseModel):
    outs: Annotated[tuple[_Output, ...], Field(min_length=1)]
    deps: tuple[_Dependency, ...] = ()


class _Listed(BaseModel):
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    relpath: _Path


_LIST: Final = TypeAdapter(tuple[_Listed, ...])


def read_pointer(content: bytes, uri: str) -> tuple[Tracked, ...]:
    """Return what a pointer leads to.

    Raises:
        UserError: DatasetInvalid, it is none, or what it stands for is in no remote by its MD5.
    """
    if len(content) > LARGEST_POINTER_BYTES:
        raise _no_pointer(uri, f"it is larger than {LARGEST_POINTER_BYTES // 1024} KiB")
    pointer = _parsed(content, uri)
    if any(dependency.repo is not None for dependency in pointer.deps):
        raise UserError(
            "DatasetInvalid",
            f"{uri} is an import from another project, whose remote has the data; name that project's pointer",
        )
    folder = uri.rpartition("/")[0]
    return tuple(_tracked(output, uri, folder) for output in pointer.outs)


def files_in(listing: bytes, tracked: Tracked) -> tuple[Tracked, ...]:
    """Return the files of a folder that DVC keeps, by its list, without those that sources leave out.

    Raises:
        UserError: DatasetInvalid, it is no such list.
    """
    if len(listing) > LARGEST_LIST_BYTES:
        limit = f"{LARGEST_LIST_BYTES // 1024**2} MiB"
        raise UserError(
            "DatasetInvalid",
            f"the list of files that {tracked.pointer} leads to is larger than {limit}; join them to fewer",
        )
    try:
        listed = _LIST.validate_json(listing)
    except ValidationError as error:
        raise UserError(
            "DatasetInvalid",
            f"the list of files that {tracked.pointer} leads to is wrong ({_first(error)}); add the folder again with "
            "`dvc add` and `dvc push`, and upload the pointer",
        ) from error
    everything = Selection(tracked.name, None)
    return tuple(
        replace(tracked, name=f"{tracked.name}/{file.relpath}", md5=file.md5, is_folder=False)
        for file in sorted(listed, key=lambda file: file.relpath)
        if everything.takes(file.relpath) and file.md5 != _EMPTY
    )


def _parsed(content: bytes, uri: str) -> _Pointer:
    from yaml import BaseLoader, YAMLError, load

    try:
        # The base loader makes nothing but texts, lists and mappings.
        said = load(content, Loader=BaseLoader)  # noqa: S506
        return _Pointer.model_validate(said)
    except ValidationError as error:
        raise _no_pointer(uri, _first(error)) from error
    except (YAMLError, RecursionError, UnicodeDecodeError) as error:
        raise _no_pointer(uri, "it is no YAML") from error


def _tracked(output: _Output, uri: str, folder: str) -> Tracked:
    if output.cloud is not None or output.files is not None:
        raise UserError(
            "DatasetInvalid",
            f"{uri} is of a remote with versions, in which data lies under its own name; name that as the source",
        )
    if not (output.cache and output.push):
        raise UserError(
            "DatasetInvalid",
            f"{uri} is of data that DVC does not push (cache or push is false); name the data itself as the source",
        )
    if output.md5 is None:
        raise _no_pointer(uri, f"{output.path} has no md5")
    if output.hash not in (None, _HASH):
        raise _no_pointer(uri, f"the hash of {output.path} is none of MD5")
    return Tracked(
        name=f"{folder}/{output.path}",
        md5=output.md5.removesuffix(_FOLDER),
        is_folder=output.md5.endswith(_FOLDER),
        former=output.hash is None,
        pointer=uri,
        remote=output.remote,
    )


def _no_pointer(uri: str, why: str) -> UserError:
    return UserError("DatasetInvalid", f"{uri} is no pointer of DVC that can be followed: {why}; {_REMEDY}")


def _first(error: ValidationError) -> str:
    """Return the first of what is wrong, without the value that is."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]

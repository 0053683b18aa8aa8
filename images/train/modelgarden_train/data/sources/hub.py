"""Sources on the Hugging Face hub: the data files of a configuration and split, at one commit.

Which files these are is what the `datasets` library says of the repository's names and its card. It is asked on a folder
of empty files with those names, so that nothing but the card is read and nothing of the repository runs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from modelgarden.api.names import source_token_variable
from modelgarden.api.pods import PodSource
from modelgarden.api.selection import MOST_FILES
from modelgarden_pod.errors import UserError
from modelgarden_pod.folder import sha256_of
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage import in_parallel
from modelgarden_train.data.sources.files import Fetched, Listing, SourceFile, pin_of, recorded
from modelgarden_train.data.sources.resolution import CARDS, ResolutionError, resolve
from modelgarden_train.hub.asking import Found, ask_hub
from modelgarden_train.hub.refusals import HubRepository

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_MOST_NAMES: Final = 100_000
"""Of a repository: the folder of empty files takes seconds with so many."""
_MOST_SHOWN: Final = 20
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_SPLIT: Final = "train"
"""That is read where none is named."""


def list_on_hub(number: int, source: PodSource, *, patience: Patience) -> Listing:
    """List the data files of a source, the dataset's of this number, at the commit that its revision means now.

    Raises:
        UserError: DatasetNotFound, DatasetInvalid, AccessDenied or SecretInvalid.
        TemporaryError: the hub does not answer.
        OSError: the disk takes no more.
    """
    repository = HubRepository(
        source.uri,
        source.revision,
        kind="dataset",
        missing="DatasetNotFound",
        field="the source",
        prefix="its ",
    )

    def find(api: HfApi, found: Found) -> tuple[str, list[str]]:
        download = _download(api, repository, found)
        cards: dict[str, Path] = {name: download(name) for name in CARDS if name in found.names}
        return found.commit, data_files(source, found.names, cards)

    commit, names = ask_hub(repository, find, token=_token(number), patience=patience)
    at_commit = replace(repository, revision=commit)
    pin = pin_of(source.uri, commit, *names) if _COMMIT.fullmatch(commit) else None

    def fetch(_target: Path) -> Fetched:
        """Fetch the files into the hub's own cache."""

        def download(api: HfApi, found: Found) -> list[Path]:
            download = _download(api, at_commit, found)
            return in_parallel(partial(download, name) for name in names)

        paths = ask_hub(at_commit, download, token=_token(number), patience=patience)
        digests = in_parallel(partial(sha256_of, path) for path in paths)
        return Fetched(
            files=tuple(
                SourceFile(source=number, name=f"{source.uri}/{name}", path=path)
                for name, path in zip(names, paths, strict=True)
            ),
            record=recorded(source.uri, zip(names, digests, strict=True), revision=commit),
            pin=pin,
        )

    return Listing(fetch=fetch, pin=pin)


def _download(api: HfApi, repository: HubRepository, found: Found) -> Callable[[str], Path]:
    """Return what brings a file of a commit into the hub's cache."""
    fetch = partial(api.hf_hub_download, repository.name, repo_type="dataset", revision=found.commit)
    return lambda name: Path(fetch(name))


def data_files(source: PodSource, names: Sequence[str], cards: dict[str, Path]) -> list[str]:
    """Return the names of the files that a configuration and a split consist of, in their order.

    Raises:
        UserError: DatasetNotFound, there is no such configuration or split; DatasetInvalid, the repository's card names
            no files, or files elsewhere.
    """
    if len(names) > _MOST_NAMES:
        raise _invalid(source, f"it has more than {_MOST_NAMES} files")
    with TemporaryDirectory(prefix="modelgarden-names-") as folder:
        root = Path(folder).resolve()
        for name in names:
            _touch(root, name)
        for name, path in cards.items():
            (root / name).write_bytes(path.read_bytes())
        try:
            found = resolve(root, source.config)
        except ResolutionError as error:
            raise _invalid(source, str(error)) from error
    split = source.split or _SPLIT
    if found.config is None:
        raise _missing(source, "config", source.config, found.configs)
    if split not in found.splits:
        raise _missing(source, "split", split, list(found.splits))
    files = [Path(path) for path in found.splits[split]]
    if len(files) > MOST_FILES:
        raise _invalid(source, f"the split has {len(files)} files, more than {MOST_FILES}")
    chosen = [path.relative_to(root).as_posix() for path in files if path.is_relative_to(root)]
    if len(chosen) < len(files) or not set(names).issuperset(chosen):
        raise _invalid(source, "its card names files elsewhere")
    return chosen


def _touch(root: Path, name: str) -> None:
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or not parts:
        return
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def _token(number: int) -> str:
    """Return the variable with the hub's token: the source's own, else the base model's."""
    own = source_token_variable(number)
    return own if own in os.environ else "HF_TOKEN"


def _missing(source: PodSource, field: str, wanted: str | None, known: Sequence[str]) -> UserError:
    shown = ", ".join(known[:_MOST_SHOWN]) or "none"
    more = ", ..." if len(known) > _MOST_SHOWN else ""
    what = f"has no {field} {wanted!r}" if wanted else f"has no {field} by default"
    return UserError("DatasetNotFound", f"{source.uri} {what}; set its {field} to one of: {shown}{more}")


def _invalid(source: PodSource, why: str) -> UserError:
    return UserError("DatasetInvalid", f"{source.uri} cannot be read, {why}; copy its files to s3:// instead")

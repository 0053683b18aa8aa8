"""Settings of a DVC project: where they lie, and the remote that they name."""

from __future__ import annotations

import pytest

from modelgarden_pod.errors import UserError
from modelgarden_train.data.sources.dvc.project import LARGEST_SETTINGS_BYTES, places_of_settings, remote_of

URI = "s3://data/shop/.dvc/config"
UNREADABLE = f"{URI} cannot be read as settings of DVC; upload the file as DVC writes it"
SETTINGS = """[core]
    no_scm = True
    remote = store  # the default one
['remote "store"']
    url = s3://bucket/dvc/
        endpointurl = http://localhost:9000
['remote "Cold"']
    url = "s3://cold"
['remote "here"']
    url = ../../remote
    secret_access_key = canary
['remote "empty"']
"""


@pytest.mark.parametrize(
    ("pointer", "want"),
    [
        (
            "s3://data/shop/2026/rows.dvc",
            ["s3://data/shop/2026/.dvc/config", "s3://data/shop/.dvc/config", "s3://data/.dvc/config"],
        ),
        ("pvc://corpus/rows.dvc", ["pvc://corpus/.dvc/config"]),
        ("file:///a/rows.dvc", ["file:///a/.dvc/config", "file:///.dvc/config"]),
    ],
)
def test_settings_are_looked_for_from_the_pointers_folder_up(pointer: str, want: list[str]) -> None:
    assert list(places_of_settings(pointer)) == want


@pytest.mark.parametrize(
    ("name", "want"), [(None, "s3://bucket/dvc"), ("store", "s3://bucket/dvc"), ("cold", "s3://cold"), ("COLD", "s3://cold")]
)  # fmt: skip
def test_a_remote_is_the_named_one_or_the_default_in_any_case_of_letters(name: str | None, want: str) -> None:
    assert remote_of(SETTINGS.encode(), URI, name) == want


@pytest.mark.parametrize(
    ("settings", "name", "want"),
    [
        (
            "", None,
            f"{URI} names no default remote; set one with `dvc remote default` and upload the file",
        ),
        (
            SETTINGS, "none",
            f"{URI} has no remote 'none'; add it with `dvc remote add`, without --local or --global, and upload the file",
        ),
        (
            SETTINGS, "here",
            f"the remote 'here' of {URI} is not in S3 or GCS (s3://bucket/path, gs://bucket/path); push the data to one "
            "that is, or name the data itself as the source",
        ),
        (
            SETTINGS, "empty",
            f"the remote 'empty' of {URI} is not in S3 or GCS (s3://bucket/path, gs://bucket/path); push the data to one "
            "that is, or name the data itself as the source",
        ),
        ("canary", None, UNREADABLE),
        ("[core]\nremote", None, UNREADABLE),
        ("[core]\n[core]", None, UNREADABLE),
        ("[core]\nremote = \udcff", None, UNREADABLE),
        pytest.param("#" * (LARGEST_SETTINGS_BYTES + 1), None, UNREADABLE, id="too large"),
    ],
)  # fmt: skip
def test_settings_without_a_remote_in_s3_are_told(settings: str, name: str | None, want: str) -> None:
    with pytest.raises(UserError) as refused:
        remote_of(settings.encode(errors="surrogateescape"), URI, name)

    assert (refused.value.reason, refused.value.message) == ("DatasetInvalid", want)

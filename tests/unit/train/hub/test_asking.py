"""The hub: what is the disk's fault and not the hub's."""

from __future__ import annotations

import errno
import os

import pytest

from modelgarden_train.hub.asking import disk_error


@pytest.mark.parametrize(
    ("code", "want_text"),
    [
        (errno.ENOSPC, "No space left on device; free some"),
        (errno.EDQUOT, "free some"),
        (errno.EACCES, "Permission denied; let this process read and write there"),
        (errno.EROFS, "let this process read and write there"),
    ],
)
def test_a_disk_that_takes_no_files_is_no_outage_of_the_hub(code: int, want_text: str) -> None:
    found = disk_error(OSError(code, os.strerror(code), "/workspace/huggingface"))

    assert found is not None
    assert found.errno == code
    assert want_text in str(found)
    assert "/workspace/huggingface" in str(found)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(errno.ECONNRESET, "reset"),
        TimeoutError(),
        PermissionError("the hub's word for a token that has expired"),
        ValueError("x"),
    ],
)
def test_what_the_network_fails_with_is_no_error_of_the_disk(error: Exception) -> None:
    assert disk_error(error) is None

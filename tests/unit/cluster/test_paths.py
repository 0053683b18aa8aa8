"""Where the cluster keeps its state: Unix sockets lie below it, and the kernel takes 108 characters for one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hack.cluster.errors import ClusterError
from hack.cluster.paths import check_socket_paths, state_folder

LONG = "/home/christopher.montgomery"


@pytest.mark.parametrize(
    ("home", "user", "want"),
    [
        pytest.param("/root", 0, "/root/.local/state/modelgarden", id="root with a short path"),
        pytest.param(LONG, 0, "/var/lib/modelgarden-3bdfc3d3", id="root with a long path"),
        pytest.param(LONG, 1000, f"{LONG}/.local/state/modelgarden", id="somebody who has no sockets"),
    ],
)
def test_a_long_home_folder_does_not_make_the_sockets_paths_too_long(
    monkeypatch: pytest.MonkeyPatch, home: str, user: int, want: str
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", home)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert [state_folder(), state_folder("it")] == [Path(want, "default"), Path(want, "it")]
    if user == 0:
        check_socket_paths(state_folder())


def test_a_long_path_that_was_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", f"{LONG}/state")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ClusterError, match="set XDG_STATE_HOME to a shorter one"):
        check_socket_paths(state_folder())

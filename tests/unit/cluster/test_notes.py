"""Notes between commands: written whole or not at all, readable by their user only, and a damaged one is none."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import pytest

from hack.cluster import notes
from hack.cluster.control_plane import ControlPlane, ControlPlaneOptions, Endpoints
from hack.cluster.s3 import S3Server

ROOT = Path(__file__).resolve().parents[3]
WRITES_ON_A_FULL_DISK = """
import signal, sys
from pathlib import Path
from hack.cluster import notes
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
notes.write(Path(sys.argv[1]), {"tier": "full"})
"""


def test_a_note_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "new" / "note.json"
    notes.write(file, {"tier": "full"})
    notes.write(file, {"tier": "kwok"})
    assert notes.read(file) == {"tier": "kwok"}
    assert [path.name for path in file.parent.iterdir()] == ["note.json"]
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", [None, "", '{"tier": "fu'])
def test_a_missing_or_damaged_note_is_none(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "note.json"
    if text is not None:
        file.write_text(text)
    assert notes.read(file) is None


def test_a_write_that_fails_leaves_what_was_there_and_says_which_file(tmp_path: Path) -> None:
    """No byte may be written any more, as on a full disk."""
    file = tmp_path / "note.json"
    file.write_text('{"tier": "kwok"}')
    done = subprocess.run(
        [sys.executable, "-B", "-c", WRITES_ON_A_FULL_DISK, str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    assert f"ClusterError: cannot write {file}: File too large" in done.stderr
    assert notes.read(file) == {"tier": "kwok"}


def endpoints_in(folder: Path) -> tuple[object, ...]:
    """Return the endpoints of the control plane in a folder."""
    return astuple(ControlPlane(folder, Endpoints.free(), ControlPlaneOptions()).endpoints)


def access_in(folder: Path) -> tuple[object, ...]:
    """Return the access to the S3 server in a folder."""
    return astuple(S3Server(folder, "127.0.0.1", 9000).access)


@pytest.mark.parametrize(("name", "stored"), [("endpoints.json", endpoints_in), ("s3.json", access_in)])
def test_ports_and_keys_stay_and_a_damaged_note_of_them_is_made_anew(
    tmp_path: Path, name: str, stored: Callable[[Path], tuple[object, ...]]
) -> None:
    first = stored(tmp_path)
    assert stored(tmp_path) == first
    (tmp_path / name).write_text("")
    second = stored(tmp_path)
    assert second != first
    assert stored(tmp_path) == second

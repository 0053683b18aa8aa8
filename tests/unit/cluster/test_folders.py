"""Removing folders: only what is empty or ours, and nothing while something is mounted below."""

from __future__ import annotations

from pathlib import Path

import pytest

from hack.cluster import folders
from hack.cluster.errors import ClusterError
from tests.unit.cluster.conftest import PutProgram


def mounted_below(folder: Path) -> list[str]:
    """Return what the kernel has mounted below a folder."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if point.startswith(f"{folder}/")]


def test_an_empty_folder_goes_and_one_in_use_stays(tmp_path: Path) -> None:
    used, empty = tmp_path / "used", tmp_path / "used" / "empty"
    empty.mkdir(parents=True)
    folders.remove_if_empty(used)
    assert empty.exists()
    folders.remove_if_empty(empty)
    assert (used.exists(), empty.exists()) == (True, False)
    folders.remove_if_empty(empty)


def test_a_folder_without_mounts_goes_with_all_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    (folder / "etcd" / "member").mkdir(parents=True)
    (folder / "etcd" / "member" / "db").write_text("data")
    folders.remove_unmounted(folder)
    assert not folder.exists()
    folders.remove_unmounted(folder)


@pytest.mark.skipif(not mounted_below(Path("/dev")), reason="nothing is mounted below /dev")
@pytest.mark.parametrize("through_a_link", [False, True], ids=["by its own path", "through a symbolic link"])
def test_what_cannot_be_unmounted_is_told_and_left(
    tmp_path: Path, put_program: PutProgram, monkeypatch: pytest.MonkeyPatch, through_a_link: bool
) -> None:
    """The umount of this test does nothing, so that what the machine itself has mounted may be asked for."""
    asked = tmp_path / "asked"
    monkeypatch.setenv("PATH", str(put_program("umount", f'echo "$@" >> {asked}').parent))
    folder = Path("/dev")
    if through_a_link:
        folder = tmp_path / "state"
        folder.symlink_to("/dev")

    with pytest.raises(
        ClusterError, match=r"still mounted below .*; end what uses them and try again"
    ) as told:
        folders.unmount_below(folder)

    for point in mounted_below(Path("/dev")):
        assert point in str(told.value)
        assert point in asked.read_text()

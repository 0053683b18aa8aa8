"""What the kernel says of the container's memory, in either version of cgroups."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelgarden_pod.cgroup import memory_limit_bytes, oom_kills


@pytest.mark.parametrize(
    ("file", "text", "want_bytes"),
    [
        ("memory.max", "2147483648\n", 2**31),
        ("memory.max", "max\n", None),
        ("memory/memory.limit_in_bytes", "1073741824\n", 2**30),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", None),
    ],
)
def test_the_memory_limit_is_read_from_either_cgroup_version(
    file: str, text: str, want_bytes: int | None, tmp_path: Path
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)

    assert memory_limit_bytes(tmp_path) == want_bytes


def test_a_machine_without_cgroups_has_no_limit(tmp_path: Path) -> None:
    assert memory_limit_bytes(tmp_path) is None


@pytest.mark.parametrize(
    ("file", "text", "want"),
    [
        ("memory.events", "low 0\nhigh 0\nmax 812\noom 2\noom_kill 3\noom_group_kill 0\n", 3),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", 1),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n", None),
        ("memory.other", "", None),
    ],
)
def test_the_kernel_tells_how_often_it_killed_for_want_of_memory(
    file: str, text: str, want: int | None, tmp_path: Path
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)

    assert oom_kills(tmp_path) == want

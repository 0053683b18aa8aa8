"""Taking a cluster down, whatever it left: a damaged note, a containerd that does not start, a cache of many things."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from hack.cluster import cli, progress
from hack.cluster.cluster import Cluster, Tier
from hack.cluster.paths import DEFAULT_NAME, cache_folder, state_folder


def damage_note(name: str) -> None:
    """Leave what a command leaves that is killed while it writes which tier a cluster is."""
    state_folder(name).mkdir(parents=True)
    (state_folder(name) / "cluster.json").write_text("")


@pytest.mark.parametrize(
    ("name", "user", "want"),
    [
        pytest.param(DEFAULT_NAME, 0, Tier.FULL, id="the default cluster of root"),
        pytest.param(
            DEFAULT_NAME, 1000, Tier.KWOK, id="the default cluster of somebody who cannot have a full one"
        ),
        pytest.param("it", 0, Tier.KWOK, id="a cluster that cannot be full by its name"),
    ],
)
def test_a_damaged_note_means_the_fullest_tier_that_there_can_be(
    monkeypatch: pytest.MonkeyPatch, name: str, user: int, want: Tier
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    damage_note(name)
    assert Cluster(name).tier is want


def test_a_cluster_with_damaged_notes_is_taken_down() -> None:
    damage_note("it")
    for note in ("endpoints.json", "s3.json", "sysctls.json"):
        (state_folder("it") / note).write_text("")
    assert cli.main(["down", "--name", "it"]) == 0
    assert not state_folder("it").exists()


def test_a_containerd_that_does_not_start_keeps_nothing_else_from_going(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows it touches the host's network, so only a cluster can show that."""
    told = io.StringIO()
    progress.use(progress.Progress(told))
    monkeypatch.setenv("PATH", str(machine))
    Cluster()._remove_containers()
    assert "containers may still run" in told.getvalue()


def test_purge_leaves_nothing_in_the_cache() -> None:
    for folder in ("bin", "containerd", "locks", "train-env-1", "tiny-model-1", ".tiny-model-2", "uv-1.0"):
        (cache_folder() / folder / "deep").mkdir(parents=True)
    (cache_folder() / "apt.log").write_text("installed")
    assert cli.main(["purge"]) == 0
    assert not cache_folder().exists()
    assert cli.main(["purge"]) == 0

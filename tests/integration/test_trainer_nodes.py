"""Two pods train as one does: their supervisors on this machine, over localhost, with the real Unsloth on the CPU."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from hack.cluster import probes
from tests.integration.harness.waiting import wait_for
from tests.integration.test_trainer_ranks import KILLED_ONCE, losses_of, make_process, manifest_of
from tests.integration.trainer_process import START_SECONDS, TrainerProcess

NODES = 2


def make_pods(folder: Path, *, patience: int = 240) -> list[TrainerProcess]:
    """Return the pods of one attempt at a run whose dataset is prepared, by node."""
    prepared = make_process(folder, gpus=1)
    assert prepared.run("prepare").exit_code == 0
    group = {
        "nodes": NODES,
        "host": "localhost",
        "port": probes.free_ports(1)[0],
        "patienceSeconds": patience,
    }
    pods = []
    for node in range(NODES):
        variables = {
            **prepared.variables,
            "JOB_COMPLETION_INDEX": str(node),
            "GLOO_SOCKET_IFNAME": "lo",
            "MARKER": str(folder / "killed"),
        }
        config = {**prepared.config, "group": group}
        pods.append(
            TrainerProcess(
                prepared.python, folder / f"pod-{node}", config, attempt=f"1-{node}", variables=variables
            )
        )
    return pods


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    process = make_process(folder, gpus=0)
    assert process.run("prepare").exit_code == 0
    trained = process.run("train")
    assert trained.exit_code == 0, trained.log
    return folder


def test_a_pod_that_is_killed_ends_the_attempt_and_the_next_one_ends_as_one_process(
    alone: Path, tmp_path: Path
) -> None:
    pods = make_pods(tmp_path)
    pods[1].patch_worker(KILLED_ONCE)
    for pod in pods:
        pod.start("train")
    first, second = [pod.wait() for pod in pods]
    assert (first.exit_code, second.exit_code) == (1, 1), first.log + second.log
    assert "SIGKILL" in second.message.message
    assert first.message.reason == "PeerLost"
    assert "SIGKILL" in first.message.message, "why the other one ended"

    for node, pod in enumerate(pods):
        pod.attempt = f"2-{node}"
        pod.start("train")
    first, second = [pod.wait() for pod in pods]

    assert (first.exit_code, second.exit_code) == (0, 0), first.log + second.log
    assert '"Resuming"' in first.log
    assert losses_of(tmp_path) == pytest.approx(losses_of(alone), rel=1e-4)
    manifest = manifest_of(tmp_path)
    single = manifest_of(alone)
    assert manifest.hyperparameters == single.hyperparameters | {"processes": "2", "nodes": "2"}
    assert manifest.evaluation.rows == single.evaluation.rows
    ended = {one.id: one.reason for one in manifest.emissions.attempts}
    assert ended == {"1-0": "Failed", "1-1": "Failed", "2-0": "Completed", "2-1": "Completed"}
    spent = [one.energy_joules.total for one in manifest.emissions.attempts]
    assert manifest.emissions.energy_joules.total == sum(spent)


@pytest.mark.parametrize("stopped", [0, 1])
def test_sigterm_of_any_pod_saves_the_step_that_all_are_at(stopped: int, tmp_path: Path) -> None:
    pods = make_pods(tmp_path)
    for pod in pods:
        pod.start("train")
    wait_for(lambda: pods[0].reached(3), START_SECONDS, what="the first checkpoint")

    pods[stopped].send(signal.SIGTERM)
    ended = [pod.wait() for pod in pods]

    other = 1 - stopped
    assert ended[stopped].exit_code == 143, ended[stopped].log
    assert (ended[other].exit_code, ended[other].message.reason) == (1, "PeerLost"), ended[other].log
    assert "stopped" in ended[other].message.message
    (saved,) = (tmp_path / "run/checkpoints").glob("*/checkpoint.json")
    assert int(saved.parent.name) >= 3


@pytest.mark.parametrize(("comes", "missing"), [(0, "node 1"), (1, "node 0")])
def test_a_pod_whose_peers_do_not_come_ends_and_names_them(comes: int, missing: str, tmp_path: Path) -> None:
    pod = make_pods(tmp_path, patience=2)[comes]

    ended = pod.run("train")

    assert (ended.exit_code, ended.message.reason) == (1, "PeersMissing"), ended.log
    assert missing in ended.message.message

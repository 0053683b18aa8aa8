"""The supervisors of several pods: how they meet, and what each hears of the others' ends."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from modelgarden.api.emissions import EmissionsRecord
from modelgarden.api.pods import PodGroup
from modelgarden_pod.errors import PodError
from modelgarden_train.attempt.messages import Message
from modelgarden_train.attempt.nodes import leading, link
from modelgarden_train.attempt.nodes.following import FirstPod
from modelgarden_train.attempt.nodes.leading import Peers
from modelgarden_train.attempt.nodes.link import MOST_BYTES, Ended, Hello, Link, Spent, Start, Stopping
from modelgarden_train.parallel.errors import PodLost
from tests.unit.builders import make_emissions

RUN = "uid-of-the-run"
SOON_SECONDS = 60.0


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what another thread brings about."""
    turn, deadline = threading.Event(), threading.Event()
    timer = threading.Timer(SOON_SECONDS, deadline.set)
    timer.daemon = True
    timer.start()
    while not condition():
        assert not deadline.is_set(), what
        turn.wait(0.01)
    timer.cancel()


class Training:
    """The first pod of a training on this machine, and those that come to it."""

    def __init__(self, nodes: int, patience: int, port: int) -> None:
        self.group = PodGroup(nodes=nodes, host="127.0.0.1", port=port, patience_seconds=patience)
        self.peers = Peers(self.group, run=RUN)

    def pod(self, node: int, *, run: str = RUN) -> FirstPod:
        """Return the first pod as another one sees it."""
        return FirstPod(self.group, Hello(run=run, node=node, attempt=f"uid-{node}"))

    def met(self, *nodes: int, spent: Callable[[], EmissionsRecord] = make_emissions) -> list[FirstPod]:
        """Have pods come and begin with the checkpoint of step 40."""
        pods = [self.pod(node) for node in nodes]
        meeting = [threading.Thread(target=pod.meet, args=(spent,), daemon=True) for pod in pods]
        for one in meeting:
            one.start()
        self.peers.gather()
        self.peers.start(resume=40)
        for one in meeting:
            one.join(SOON_SECONDS)
            assert not one.is_alive()
        return pods


MakeTraining = Callable[..., Training]


@pytest.fixture
def make_training(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeTraining]:
    with contextlib.ExitStack() as opened:

        def make(*, nodes: int = 2, patience: int = 60) -> Training:
            # Bound before its number is told, so that nobody else takes the port meanwhile.
            server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = int(server.getsockname()[1])
            listening = leading._listening
            monkeypatch.setattr(
                leading, "_listening", lambda wanted: server if wanted == port else listening(wanted)
            )
            return Training(nodes, patience, port)

        yield make


def test_all_begin_with_the_same_checkpoint_once_all_are_there(make_training: MakeTraining) -> None:
    training = make_training(nodes=3)
    started: list[Start] = []
    pods = [training.pod(node) for node in (1, 2)]
    meeting = [
        threading.Thread(target=lambda pod=pod: started.append(pod.meet(make_emissions)), daemon=True)
        for pod in pods
    ]
    meeting[0].start()
    until(lambda: training.peers._absent() == [2], "the first of two")
    assert started == [], "the other one is not there"
    meeting[1].start()

    training.peers.gather()
    port = training.peers.start(resume=40)
    for one in meeting:
        one.join(SOON_SECONDS)

    assert [(one.port, one.resume) for one in started] == [(port, 40)] * 2


@pytest.mark.parametrize("nodes", [2, 4])
def test_the_first_pod_names_those_that_do_not_come(nodes: int, make_training: MakeTraining) -> None:
    training = make_training(nodes=nodes, patience=1)

    with pytest.raises(PodError, match="node 1") as raised:
        training.peers.gather()

    assert raised.value.reason == "PeersMissing"
    assert f"node {nodes - 1}" in raised.value.message
    assert "NetworkPolicy" in raised.value.message


def test_a_pod_that_finds_no_first_one_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = int(closed.getsockname()[1])
    group = PodGroup(nodes=2, host="bot-train-0.bot-train.team.svc.invalid", port=port, patience_seconds=1)
    pod = FirstPod(group, Hello(run=RUN, node=1, attempt="uid-1"))

    with pytest.raises(PodError, match="bot-train-0") as raised:
        pod.meet(make_emissions)

    assert raised.value.reason == "PeersMissing"


def test_a_pod_that_ends_tells_the_first_one_why(make_training: MakeTraining) -> None:
    training = make_training()
    (pod,) = training.met(1)

    pod.ended("OutOfMemory", "the GPU's memory is too small")
    with pytest.raises(PodLost, match="node 1 has ended: OutOfMemory: the GPU's memory"):
        training.peers.wait(SOON_SECONDS)


def test_the_first_pod_tells_all_others_why_it_ends(make_training: MakeTraining) -> None:
    training = make_training(nodes=3)
    pods = training.met(1, 2)

    training.peers.ended("Stalled", "silent for 1800 s")
    for pod in pods:
        with pytest.raises(PodLost, match="has ended: Stalled: silent for 1800 s"):
            pod.wait(SOON_SECONDS)
        assert pod.stalled


def test_a_pod_that_is_gone_without_a_word_is_lost(make_training: MakeTraining) -> None:
    training = make_training()
    (pod,) = training.met(1)
    assert pod._link is not None

    pod._link.close()
    with pytest.raises(PodLost, match="node 1 does not answer any more"):
        training.peers.wait(SOON_SECONDS)


def test_sigterm_of_one_pod_reaches_all_of_them(make_training: MakeTraining) -> None:
    training = make_training(nodes=3)
    first, second = training.met(1, 2)

    first.stop()
    until(lambda: training.peers.stopping and second.stopping, "the word of the stop")

    first.ended("Terminated", "SIGTERM")
    training.peers.wait(0.1)
    assert "node 1 was stopped" in training.peers.stopped().message


def test_what_the_others_spend_is_heard_from_them_all(
    make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "BEAT_SECONDS", 0.02)
    training = make_training(nodes=3)
    training.met(1, 2, spent=lambda: make_emissions({"uid": 7200}))

    until(lambda: len(training.peers.spent()) == 2, "what two pods have spent")

    assert [one.energy_joules.total for one in training.peers.spent()] == [7200, 7200]


def test_all_others_hear_that_it_is_published(make_training: MakeTraining) -> None:
    training = make_training(nodes=3)
    pods = training.met(1, 2)

    training.peers.published()

    until(lambda: all(pod.published for pod in pods), "the word of the artifact")


@pytest.mark.parametrize(
    "stranger",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="no message"),
        pytest.param(b'{"kind":"beat"}\n', id="no greeting"),
        pytest.param(b'{"kind":"hello","run":"another","node":1,"attempt":"x"}\n', id="of another run"),
        pytest.param(
            b'{"kind":"hello","run":"uid-of-the-run","node":7,"attempt":"x"}\n', id="of no node of it"
        ),
        pytest.param(b"x" * MOST_BYTES, id="a line without an end"),
    ],
)
def test_strangers_are_hung_up_on_and_change_nothing(stranger: bytes, make_training: MakeTraining) -> None:
    training = make_training()
    with (
        socket.create_connection(("127.0.0.1", training.group.port), SOON_SECONDS) as connection,
        contextlib.suppress(ConnectionError),
    ):
        connection.sendall(stranger)
        assert connection.recv(1) == b""

    (pod,) = training.met(1)

    training.peers.check()
    pod.check()


def test_a_second_pod_of_the_same_node_is_not_taken_in(make_training: MakeTraining) -> None:
    training = make_training()
    training.met(1)
    with socket.create_connection(("127.0.0.1", training.group.port), SOON_SECONDS) as connection:
        again = Link(connection)
        again.send(Hello(run=RUN, node=1, attempt="another"))

        assert again.receive() is None
    training.peers.check()


def test_a_training_on_one_node_waits_for_nobody() -> None:
    alone = Peers(None, run=RUN)

    alone.gather()
    alone.check()

    assert (alone.start(resume=40), alone.store, alone.spent(), alone.stopping) == (None, None, (), False)


@pytest.mark.parametrize(
    "message",
    [
        Hello(run=RUN, node=1, attempt="uid-1"),
        Start(port=4711, resume=40),
        Stopping(),
        Ended(reason="TrainingFailed", message="line\nbreak"),
        Spent(emissions=make_emissions({f"uid-{number}": number for number in range(64)})),
    ],
    ids=lambda message: message.kind,
)
def test_a_message_comes_as_it_was_sent(message: Message) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), SOON_SECONDS) as here,
        server.accept()[0] as there,
    ):
        sender, receiver = Link(here), Link(there)
        sending = threading.Thread(target=sender.send, args=(message,), daemon=True)
        sending.start()

        assert receiver.receive() == message
        sending.join(SOON_SECONDS)

"""Whole rollouts on simulated clusters: they end, and on the way enough pods answer.

The simulation is of Deployments, a scheduler with a number of GPUs, and pods that take their time to load and to drain.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from modelgarden.api.conditions import Problem
from modelgarden.serving.rollout import SURGE_GRACE, Revision, aim, scale, verdict
from tests.unit.serving.builders import NOW

TICK = timedelta(seconds=5)
DEADLINE = timedelta(minutes=30)
MOST_TICKS = 3000


@dataclass
class Pod:
    """A pod and how many ticks it still needs to load or, once it ends, to drain."""

    revision: str
    loading: int
    draining: int
    placed: bool = False
    ending: bool = False
    since: int = 0
    ready_at: int | None = None

    @property
    def ready(self) -> bool:
        return self.placed and not self.ending and self.loading <= 0


@dataclass
class Cluster:
    """GPUs, Deployments (replicas by revision) and their pods."""

    gpus: int
    dice: random.Random
    broken: frozenset[str] = frozenset()
    replicas: dict[str, int] = field(default_factory=dict)
    made: dict[str, int] = field(default_factory=dict)
    served: set[str] = field(default_factory=set)
    scaled: dict[str, int] = field(default_factory=dict)
    raised: dict[str, int] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    """Revisions whose pods miss their readiness probes for now."""
    failed: dict[str, Problem] = field(default_factory=dict)
    pods: list[Pod] = field(default_factory=list)
    starved: bool = False
    """A new pod once found no place for the length of the grace, be it by the scheduler's slowness alone."""
    tick: int = 0

    def step(self) -> None:
        """Let controllers, the scheduler and the pods work for a while."""
        self.tick += 1
        for pod in self.pods:
            pod.draining -= pod.ending
            pod.loading -= pod.placed and pod.revision not in self.broken
            if pod.ready and pod.ready_at is None:
                pod.ready_at = self.tick
        self.pods = [pod for pod in self.pods if not (pod.ending and (pod.draining <= 0 or not pod.placed))]
        for name, wanted in self.replicas.items():
            self._control(name, wanted)
        free = self.gpus - sum(pod.placed for pod in self.pods)
        for pod in self.pods:
            if not pod.placed and not pod.ending and free > 0 and self.dice.random() < 0.9:
                pod.placed, free = True, free - 1

    def _control(self, name: str, wanted: int) -> None:
        own = [pod for pod in self.pods if pod.revision == name and not pod.ending]
        for pod in sorted(own, key=lambda pod: (pod.ready, pod.placed))[: max(0, len(own) - wanted)]:
            pod.ending = True
        for _ in range(wanted - len(own)):
            loading, draining = self.dice.randint(1, 20), self.dice.randint(0, 12)
            self.pods.append(Pod(revision=name, loading=loading, draining=draining, since=self.tick))

    def seen(self, name: str) -> Revision:
        """Return what the operator sees of a revision."""
        own = [pod for pod in self.pods if pod.revision == name]
        staying = [pod for pod in own if not pod.ending]
        waiting = [pod.since for pod in staying if not pod.placed]
        ready_at = [pod.ready_at for pod in staying if pod.ready_at is not None]
        return Revision(
            name=name,
            created=NOW + TICK * self.made[name],
            model="m",
            wanted=self.replicas[name],
            ready=0 if name in self.silent else sum(pod.ready for pod in staying),
            held=len(own),
            served=name in self.served,
            failed=self.failed.get(name),
            scaled_at=NOW + TICK * self.scaled[name] if name in self.scaled else None,
            raised_at=NOW + TICK * self.raised[name] if name in self.raised else None,
            last_ready_at=NOW + TICK * max(ready_at) if ready_at else None,
            starved_since=NOW + TICK * min(waiting) if waiting else None,
        )

    def roll(self, wanted: str, replicas: int) -> bool:
        """Do what the operator does; tell whether the rollout is complete."""
        now = NOW + TICK * self.tick
        revision = self.seen(wanted)
        others = [self.seen(name) for name in self.replicas if name != wanted]
        rollout = aim(revision, others, replicas)
        assert rollout is not None
        failure = verdict(rollout, DEADLINE, now)
        if failure is not None:
            self.failed[wanted] = failure
            rollout = aim(replace(revision, failed=failure), others, replicas)
            assert rollout is not None
        self.starved = self.starved or rollout.target.starved(now)
        for name, target in scale(rollout, now).items():
            if self.replicas[name] < target:
                self.raised[name] = self.tick
            if self.replicas[name] != target:
                self.replicas[name], self.scaled[name] = target, self.tick
        if rollout.complete and not rollout.returning and replicas > 0:
            self.served.add(wanted)
        return rollout.complete

    @property
    def ready(self) -> int:
        return sum(pod.ready for pod in self.pods)


def serving(cluster: Cluster, replicas: int) -> None:
    """Bring up the revision `old` with all its replicas."""
    cluster.replicas["old"], cluster.made["old"] = replicas, 0
    cluster.served.add("old")
    cluster._control("old", replicas)
    for pod in cluster.pods:
        pod.placed, pod.loading = True, 0


@given(replicas=st.integers(1, 6), spare=st.integers(0, 2), seed=st.integers(0, 10**6))
@settings(max_examples=200)
def test_a_rollout_ends_and_never_has_fewer_than_replicas_minus_one_ready(
    replicas: int, spare: int, seed: int
) -> None:
    cluster = Cluster(gpus=replicas + spare, dice=random.Random(seed))
    serving(cluster, replicas)
    cluster.replicas["new"], cluster.made["new"] = 0, 0
    fewest, most = replicas, 0
    for _ in range(MOST_TICKS):
        done = cluster.roll("new", replicas)
        if done:
            break
        cluster.step()
        fewest = min(fewest, cluster.ready)
        most = max(most, len(cluster.pods))
    assert done, "the rollout never ended"
    assert cluster.failed == {}
    assert most <= replicas + 1
    # A pod that found no place for the length of the grace looks starved: only then may one old pod make room.
    assert fewest >= (replicas if spare > 0 else replicas - 1)


@given(replicas=st.integers(1, 5), spare=st.integers(0, 2), seed=st.integers(0, 10**6))
@settings(max_examples=100)
def test_a_broken_revision_is_rolled_back_to_all_replicas_of_the_old_one(
    replicas: int, spare: int, seed: int
) -> None:
    cluster = Cluster(gpus=replicas + spare, dice=random.Random(seed), broken=frozenset({"new"}))
    serving(cluster, replicas)
    cluster.replicas["new"], cluster.made["new"] = 0, 0
    fewest = replicas
    for _ in range(MOST_TICKS):
        done = cluster.roll("new", replicas) and "new" in cluster.failed
        if done:
            break
        cluster.step()
        fewest = min(fewest, cluster.ready)
    assert done, "the old revision never came back"
    assert cluster.replicas == {"old": replicas, "new": 0}
    assert fewest >= replicas - (0 if spare else 1)


@given(
    replicas=st.integers(1, 5), spare=st.integers(0, 2), seed=st.integers(0, 10**6), cut=st.integers(1, 60)
)
@settings(max_examples=100)
def test_a_rollout_that_is_overtaken_by_another_ends_as_well(
    replicas: int, spare: int, seed: int, cut: int
) -> None:
    cluster = Cluster(gpus=replicas + spare, dice=random.Random(seed))
    serving(cluster, replicas)
    cluster.replicas["mid"], cluster.made["mid"] = 0, 0
    fewest = replicas
    for _ in range(cut):
        cluster.roll("mid", replicas)
        cluster.step()
        fewest = min(fewest, cluster.ready)
    cluster.replicas["new"], cluster.made["new"] = 0, cluster.tick
    for _ in range(MOST_TICKS):
        done = cluster.roll("new", replicas)
        if done:
            break
        cluster.step()
        fewest = min(fewest, cluster.ready)
    assert done, "the rollout never ended"
    assert cluster.replicas["new"] == replicas
    assert fewest >= replicas - 1


@given(
    replicas=st.integers(1, 5), spare=st.integers(0, 2), seed=st.integers(0, 10**6), cut=st.integers(0, 60)
)
@settings(max_examples=100)
def test_an_operator_that_was_away_for_longer_than_the_deadline_rolls_nothing_back(
    replicas: int, spare: int, seed: int, cut: int
) -> None:
    cluster = Cluster(gpus=replicas + spare, dice=random.Random(seed))
    serving(cluster, replicas)
    cluster.replicas["new"], cluster.made["new"] = 0, 0
    for _ in range(cut):
        cluster.roll("new", replicas)
        cluster.step()
    for _ in range(2 * DEADLINE // TICK):
        cluster.step()
    for _ in range(MOST_TICKS):
        done = cluster.roll("new", replicas)
        if done:
            break
        cluster.step()
    assert done, "the rollout never ended"
    assert cluster.failed == {}
    assert cluster.replicas == {"old": 0, "new": replicas}


@given(
    replicas=st.integers(1, 5), spare=st.integers(0, 2), seed=st.integers(0, 10**6), cut=st.integers(1, 60)
)
@settings(max_examples=100)
def test_a_rollout_that_waited_at_zero_replicas_goes_on_when_they_are_raised(
    replicas: int, spare: int, seed: int, cut: int
) -> None:
    cluster = Cluster(gpus=replicas + spare, dice=random.Random(seed))
    serving(cluster, replicas)
    cluster.replicas["new"], cluster.made["new"] = 0, 0
    for tick in range(cut + 2 * DEADLINE // TICK):
        cluster.roll("new", replicas if tick < cut else 0)
        cluster.step()
    for _ in range(MOST_TICKS):
        done = cluster.roll("new", replicas)
        if done:
            break
        cluster.step()
    assert done, "the rollout never ended"
    assert cluster.failed == {}


@given(replicas=st.integers(1, 5), spare=st.integers(0, 2), seed=st.integers(0, 10**6))
@settings(max_examples=200)
def test_missed_probes_end_no_more_old_pods_than_a_rollout_without_them(
    replicas: int, spare: int, seed: int
) -> None:
    cluster = Cluster(gpus=replicas + spare, dice=random.Random(seed))
    serving(cluster, replicas)
    cluster.replicas["new"], cluster.made["new"] = 0, 0
    fewest = replicas
    for _ in range(MOST_TICKS):
        cluster.silent = {"old"} if cluster.dice.random() < 0.3 else set()
        done = cluster.roll("new", replicas)
        if done:
            break
        cluster.step()
        fewest = min(fewest, cluster.ready)
    assert done, "the rollout never ended"
    assert cluster.failed == {}
    assert fewest >= (replicas - 1 if cluster.starved else replicas)


def test_the_grace_is_longer_than_a_tick() -> None:
    assert SURGE_GRACE > TICK

"""The cache: newest wins, the gone stay gone, indices, comparison with a listing."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden.api.names import FINETUNEJOB_LABEL
from modelgarden.kube.cache import Cache
from modelgarden.kube.resources import JOBS, PODS, Key

KEY = Key(JOBS, "team", "a")


def make(name: str = "a", *, version: int = 1, uid: str = "", **fields: Any) -> dict[str, Any]:
    metadata = {
        "namespace": "team",
        "name": name,
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
        **fields,
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata}


def version_of(cache: Cache, name: str = "a") -> str | None:
    found = cache.get(JOBS, "team", name)
    return found["metadata"]["resourceVersion"] if found else None


@pytest.fixture
def cache() -> Cache:
    return Cache()


@pytest.mark.parametrize(
    ("second", "want_news", "want_version"),
    [(9, True, "10"), (10, False, "10"), (11, True, "11")],
    ids=["older is news that changes nothing", "the same is an echo", "newer replaces"],
)
def test_versions_are_compared_as_numbers(
    cache: Cache, second: int, want_news: bool, want_version: str
) -> None:
    assert cache.put(JOBS, make(version=10))
    assert cache.put(JOBS, make(version=second)) is want_news
    assert version_of(cache) == want_version


def test_a_namesake_with_another_uid_replaces_whatever_the_version(cache: Cache) -> None:
    cache.put(JOBS, make(version=10, uid="first"))
    assert cache.put(JOBS, make(version=9, uid="second"))
    assert version_of(cache) == "9"


def test_a_late_event_does_not_bring_back_what_was_removed(cache: Cache) -> None:
    cache.put(JOBS, make(version=1))
    cache.leave(JOBS, make(version=3))
    cache.put(JOBS, make(version=2))
    assert version_of(cache) is None


def test_what_a_deletion_removed_stays_away_whatever_is_told_of_its_end(cache: Cache) -> None:
    cache.put(JOBS, make(version=1))
    cache.remove(JOBS, "team", "a")
    cache.put(JOBS, make(version=9))
    cache.leave(JOBS, make(version=10))
    cache.put(JOBS, make(version=11))
    assert version_of(cache) is None


def test_what_lost_its_label_comes_back_with_it(cache: Cache) -> None:
    cache.put(JOBS, make(version=1))
    cache.leave(JOBS, make(version=2))
    assert version_of(cache) is None
    assert compare(cache, {"a": ("uid-a", 3)}) == ({"a"}, set())
    assert cache.put(JOBS, make(version=3))
    assert version_of(cache) == "3"


def test_news_that_something_left_is_older_than_what_was_written_since(cache: Cache) -> None:
    cache.put(JOBS, make(version=3))
    cache.leave(JOBS, make(version=2))
    assert version_of(cache) == "3"


def test_removing_one_uid_leaves_its_successor(cache: Cache) -> None:
    cache.put(JOBS, make(version=5, uid="second"))
    cache.leave(JOBS, make(version=6, uid="first"))
    assert version_of(cache) == "5"


def test_managed_fields_and_the_last_applied_annotation_are_not_kept(cache: Cache) -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "a"}
    cache.put(JOBS, make(managedFields=[{}], annotations=annotations))
    found = cache.get(JOBS, "team", "a")
    assert found is not None
    assert "managedFields" not in found["metadata"]
    assert found["metadata"]["annotations"] == {"team": "a"}


def test_of_a_pod_s_spec_only_names_and_images_are_kept(cache: Cache) -> None:
    pod = make("p")
    pod["spec"] = {
        "containers": [
            {
                "name": "main",
                "image": "train:1",
                "env": [{"name": "A"}],
                "resources": {"limits": {"memory": "1Gi"}},
            }
        ],
        "volumes": [],
    }
    cache.put(PODS, pod)
    found = cache.get(PODS, "team", "p")
    assert found is not None
    kept = {"name": "main", "image": "train:1", "resources": {"limits": {"memory": "1Gi"}}}
    assert found["spec"] == {"containers": [kept]}


@pytest.mark.parametrize(
    ("generation", "want"), [(1, {"replicas": 1}), (2, {"replicas": 2})], ids=["the same", "a new one"]
)
def test_a_spec_is_read_anew_with_each_generation(
    cache: Cache, generation: int, want: dict[str, int]
) -> None:
    cache.put(JOBS, {**make(version=1, generation=1), "spec": {"replicas": 1}})
    cache.put(JOBS, {**make(version=2, generation=generation), "spec": {"replicas": generation}})
    found = cache.get(JOBS, "team", "a")
    assert found is not None
    assert found["spec"] == want


def test_children_are_found_by_their_controller_and_follow_it(cache: Cache) -> None:
    def child(version: int, owner: str) -> dict[str, Any]:
        return make(version=version, ownerReferences=[{"uid": owner, "controller": True}])

    cache.put(JOBS, child(1, "owner"))
    cache.put(JOBS, make("b", ownerReferences=[{"uid": "owner"}]))
    assert [job["metadata"]["name"] for job in cache.children(JOBS, "owner")] == ["a"]
    cache.put(JOBS, child(2, "other"))
    assert cache.children(JOBS, "owner") == []
    cache.remove(JOBS, "team", "a")
    assert cache.children(JOBS, "other") == []


def test_labelled_objects_are_found_in_their_namespace_only(cache: Cache) -> None:
    cache.put(PODS, make("p", labels={FINETUNEJOB_LABEL: "job"}))
    assert [pod["metadata"]["name"] for pod in cache.labelled(PODS, "team", FINETUNEJOB_LABEL, "job")] == [
        "p"
    ]
    assert cache.labelled(PODS, "other", FINETUNEJOB_LABEL, "job") == []
    assert cache.labelled(JOBS, "team", FINETUNEJOB_LABEL, "job") == []


def compare(
    cache: Cache, listed: dict[str, tuple[str, int]], version: int = 100
) -> tuple[set[str], set[str]]:
    keys = {Key(JOBS, "team", name): state for name, state in listed.items()}
    stale, ghosts = cache.differences(JOBS, keys, version)
    return {key.name for key in stale}, {key.name for key in ghosts}


def test_a_listing_that_agrees_differs_in_nothing(cache: Cache) -> None:
    cache.put(JOBS, make(version=7))
    assert compare(cache, {"a": ("uid-a", 7)}) == (set(), set())


@pytest.mark.parametrize(
    "listed",
    [{"a": ("uid-a", 8)}, {"a": ("successor", 7)}, {"a": ("uid-a", 7), "b": ("uid-b", 8)}],
    ids=["newer", "another of the same name", "unknown"],
)
def test_what_the_listing_knows_better_is_read_anew(cache: Cache, listed: dict[str, tuple[str, int]]) -> None:
    cache.put(JOBS, make(version=7))
    stale, ghosts = compare(cache, listed)
    assert (len(stale), ghosts) == (1, set())


def test_what_the_listing_lacks_is_a_ghost(cache: Cache) -> None:
    cache.put(JOBS, make(version=7))
    assert compare(cache, {}) == (set(), {"a"})


def test_what_came_after_the_listing_is_neither_ghost_nor_stale(cache: Cache) -> None:
    cache.put(JOBS, make(version=101))
    assert compare(cache, {}) == (set(), set())
    assert compare(cache, {"a": ("uid-a", 90)}) == (set(), set())


def test_what_went_during_the_listing_does_not_come_back(cache: Cache) -> None:
    cache.put(JOBS, make(version=7))
    cache.leave(JOBS, make(version=8))
    assert compare(cache, {"a": ("uid-a", 7)}) == (set(), set())


def test_a_listing_of_one_namespace_says_nothing_of_another(cache: Cache) -> None:
    cache.put(JOBS, make(version=7))
    assert cache.differences(JOBS, {}, 100, namespace="other") == (set(), set())
    assert cache.differences(JOBS, {}, 100, namespace="team") == (set(), {KEY})


def test_a_version_is_final_until_it_changes_or_goes(cache: Cache) -> None:
    cache.put(JOBS, make(version=4))
    cache.finalize(JOBS, make(version=4))

    assert cache.is_final(JOBS, make(version=4))
    assert not cache.is_final(JOBS, make(version=5))
    cache.leave(JOBS, make(version=6))
    assert not cache.is_final(JOBS, make(version=4))

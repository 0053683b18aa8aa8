"""The GPUs of the cluster, by the labels of its nodes."""

from __future__ import annotations

from typing import Any, cast

import pytest

from modelgarden.kube.client import Kube
from modelgarden.kube.errors import Invalid, Retryable
from modelgarden.workloads.gpus import Gpu, NodeGpus, card_of, gpus_of

H100 = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.memory": "81559"}
L4 = {"nvidia.com/gpu.product": "NVIDIA-L4", "nvidia.com/gpu.memory": "23034", "pool": "small"}


class Nodes:
    """Answers for the API server."""

    def __init__(self, *answers: list[dict[str, str]] | Exception) -> None:
        self.answers = list(answers)

    async def pages(self, *_: object, **__: object) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        yield type("Page", (), {"items": [{"metadata": {"labels": labels}} for labels in answer]})


def gpus(*answers: list[dict[str, str]] | Exception) -> NodeGpus:
    return NodeGpus(cast(Kube, Nodes(*answers)))


def test_each_kind_counts_once_the_largest_first() -> None:
    assert gpus_of([L4, H100, L4], {}) == (
        Gpu("NVIDIA-H100-80GB-HBM3", 81_559 * 2**20),
        Gpu("NVIDIA-L4", 23_034 * 2**20),
    )


def test_only_nodes_that_the_pod_may_run_on_count() -> None:
    assert [gpu.product for gpu in gpus_of([L4, H100], {"pool": "small"})] == ["NVIDIA-L4"]
    assert gpus_of([L4, H100], {"pool": "large"}) == ()


@pytest.mark.parametrize(
    ("labels", "want"),
    [
        ({}, None),
        ({"nvidia.com/gpu.count": "8"}, 8),
        ({"nvidia.com/gpu.count": "2", "nvidia.com/gpu.replicas": "4"}, 8),
        ({"nvidia.com/gpu.count": "2", "nvidia.com/gpu.replicas": "0"}, 2),
        ({"nvidia.com/gpu.count": "many"}, None),
    ],
)
def test_a_node_tells_how_many_it_has(labels: dict[str, str], want: int | None) -> None:
    (found,) = gpus_of([H100 | labels], {})

    assert found.count == want
    assert found.are(8) == (want != 2)


@pytest.mark.parametrize("memory", ["", "0", "much", "-5", "٣"])
def test_a_label_that_tells_no_memory_tells_nothing(memory: str) -> None:
    assert gpus_of([H100 | {"nvidia.com/gpu.memory": memory}, {"pool": "small"}], {}) == ()


def test_a_shared_gpu_is_the_same_card_and_a_slice_is_not() -> None:
    whole = card_of(Gpu("NVIDIA-L4", 1))

    assert whole is not None
    assert card_of(Gpu("NVIDIA-L4-SHARED", 1)) == whole
    assert card_of(Gpu("NVIDIA-H100-80GB-HBM3-MIG-1g.10gb", 1)) is None


async def test_nodes_are_asked_for_once_for_all() -> None:
    nodes = gpus([L4])

    assert await nodes.allowed({}) == await nodes.allowed({}) != ()
    assert await nodes.allowed({"pool": "large"}) == ()


async def test_without_the_right_to_list_nodes_no_gpu_is_known() -> None:
    assert await gpus(Invalid("ApplyRejected", "nodes is forbidden")).allowed({}) == ()


async def test_an_api_server_that_does_not_answer_is_asked_again() -> None:
    with pytest.raises(Retryable):
        await gpus(Retryable("away")).allowed({})

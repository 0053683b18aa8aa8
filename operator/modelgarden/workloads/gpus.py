"""The GPUs that the cluster's nodes have, by the labels of NVIDIA's GPU feature discovery.

What it takes of a node is its labels; a node that scales up from none is not known before it is there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelgarden.api.messages import clean
from modelgarden.kube.client import Kube
from modelgarden.kube.errors import Invalid
from modelgarden.kube.resources import NODES
from modelgarden.registry.lookups import Lookups

log = logging.getLogger(__name__)

PRODUCT_LABEL: Final = "nvidia.com/gpu.product"
MEMORY_LABEL: Final = "nvidia.com/gpu.memory"
"""In MiB, of one GPU."""
COUNT_LABEL: Final = "nvidia.com/gpu.count"
REPLICAS_LABEL: Final = "nvidia.com/gpu.replicas"
"""Pods that share one GPU."""
_SHARED: Final = "-SHARED"
"""Ends the product of a GPU that several pods share in turn."""

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU."""

    product: str
    memory_bytes: int
    count: int | None = None
    """How many a node has, None where it does not say."""

    def are(self, wanted: int) -> bool:
        """Tell whether a node may have so many of them."""
        return self.count is None or self.count >= wanted


@dataclass(frozen=True)
class Card:
    """What its data sheet says."""

    teraflops: float
    """Dense, with 16-bit factors (bfloat16, or float16 where there is none) and 32-bit sums."""
    watts: int
    """Power limit of the board."""


_CARDS: Final[Mapping[str, Card]] = {
    "NVIDIA-B200": Card(2250, 1000),
    "NVIDIA-H200": Card(989, 700),
    "NVIDIA-H200-NVL": Card(836, 600),
    "NVIDIA-H100-80GB-HBM3": Card(989, 700),
    "NVIDIA-H100-NVL": Card(836, 400),
    "NVIDIA-H100-PCIe": Card(756, 350),
    "NVIDIA-A100-SXM4-80GB": Card(312, 400),
    "NVIDIA-A100-SXM4-40GB": Card(312, 400),
    "NVIDIA-A100-80GB-PCIe": Card(312, 300),
    "NVIDIA-A100-PCIE-40GB": Card(312, 250),
    "NVIDIA-L40S": Card(362, 350),
    "NVIDIA-L40": Card(181, 300),
    "NVIDIA-L4": Card(121, 72),
    "NVIDIA-A40": Card(150, 300),
    "NVIDIA-A30": Card(165, 165),
    "NVIDIA-A10": Card(125, 150),
    "NVIDIA-RTX-6000-Ada-Generation": Card(364, 300),
    "NVIDIA-RTX-A6000": Card(155, 300),
    "Tesla-V100-SXM2-32GB": Card(125, 300),
    "Tesla-V100-SXM2-16GB": Card(125, 300),
    "Tesla-T4": Card(65, 70),
}
"""By the product's label. NVIDIA's data sheets; where these give a figure with sparsity, half of it."""


def card_of(gpu: Gpu) -> Card | None:
    """Return what is known of a GPU, None of one that is not in the table, such as a slice of one (MIG)."""
    return _CARDS.get(gpu.product.removesuffix(_SHARED))


def gpus_of(nodes: Iterable[Labels], selector: Labels) -> tuple[Gpu, ...]:
    """Return the kinds of GPUs on the nodes that have the labels wanted, the one with the most memory first."""
    found = {
        gpu
        for labels in nodes
        if all(labels.get(name) == value for name, value in selector.items())
        and (gpu := _gpu(labels)) is not None
    }
    return tuple(sorted(found, key=lambda gpu: (-gpu.memory_bytes, gpu.product, -(gpu.count or 0))))


def _gpu(labels: Labels) -> Gpu | None:
    memory = labels.get(MEMORY_LABEL, "")
    if not (memory.isascii() and memory.isdigit() and int(memory)):
        return None
    return Gpu(
        product=clean(labels.get(PRODUCT_LABEL, "GPU"), length=63),
        memory_bytes=int(memory) * 2**20,
        count=_count(labels),
    )


def _count(labels: Labels) -> int | None:
    """Return the GPUs that a node gives to pods, those that are shared as often as they are."""
    count, replicas = labels.get(COUNT_LABEL, ""), labels.get(REPLICAS_LABEL, "1")
    numbers = [number for number in (count, replicas) if number.isascii() and number.isdigit()]
    return int(numbers[0]) * max(1, int(numbers[1])) if len(numbers) == 2 else None


class NodeGpus:
    """Asks for the labels of the nodes with GPUs; all resources share the answer for 10 s."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._labels = Lookups()

    async def allowed(self, selector: Labels) -> tuple[Gpu, ...]:
        """Return the GPUs that pods with the node selector may get, none where this is not known.

        Raises:
            Retryable: the API server does not answer.
        """
        nodes = await self._labels.get("nodes", self._read)
        return gpus_of(nodes, selector)

    async def _read(self) -> tuple[Labels, ...]:
        try:
            pages = self._kube.pages(NODES, label_selector=MEMORY_LABEL, metadata_only=True)
            return tuple([_labels(node) async for page in pages for node in page.items])
        except Invalid as error:
            log.info("The GPUs of the nodes are not known: %s", error.message)
            return ()


def _labels(node: Mapping[str, Any]) -> Labels:
    return {name: str(value) for name, value in node["metadata"].get("labels", {}).items()}

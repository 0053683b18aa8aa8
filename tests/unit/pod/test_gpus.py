"""Which GPUs are metered: what CodeCarbon 3.3.2 misreads into an energy of zero."""

from __future__ import annotations

import pytest

from modelgarden_pod.gpus import visible_indices

UUIDS = ("GPU-aaaa-1", "GPU-bbbb-2", "GPU-bbcc-3")


@pytest.mark.parametrize(
    ("visible", "wanted", "want_indices"),
    [
        pytest.param(None, 1, (0,), id="the first, where nothing is chosen"),
        pytest.param(None, 3, (0, 1, 2), id="all of them"),
        pytest.param("all", 2, (0, 1), id="all, as container runtimes write it"),
        pytest.param("2", 1, (2,), id="an index"),
        pytest.param("0,2", 2, (0, 2), id="two indices"),
        pytest.param("GPU-bbbb-2", 1, (1,), id="a UUID"),
        pytest.param("GPU-bbc", 1, (2,), id="a prefix of a UUID"),
        pytest.param("MIG-bbbb-2", 1, (), id="a MIG slice, which has no counter of its own"),
        pytest.param("7", 1, (), id="an index that does not exist"),
        pytest.param("-1", 1, (), id="no device"),
        pytest.param("1,1", 2, (1,), id="the same device twice"),
    ],
)
def test_the_choice_of_cuda_is_followed(
    visible: str | None, wanted: int, want_indices: tuple[int, ...]
) -> None:
    assert visible_indices(UUIDS, wanted=wanted, visible=visible) == want_indices

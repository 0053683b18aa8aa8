"""How a step is split on a GPU, by the memory that it has."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden.api.finetunejob import Needs
from modelgarden.api.finetunejob.needs import CONTEXT_BYTES

GB = 10**9


def make_needs(**fields: Any) -> Needs:
    given: dict[str, Any] = {
        "parameters": 8 * GB,
        "active_parameters": 7_500_000_000,
        "trained_parameters": 80_000_000,
        "weights_bytes": 16 * GB,
        "trained_bytes": 1 * GB,
        "token_bytes": 3_000_000,
        "checkpointed_token_bytes": 100_000,
        "logits_bytes": 0,
        "step_tokens": 32_000,
        "step_rows": 16,
        "longest_row": 2_000,
        "first_budget": 16_384,
        "most_budget": 65_536,
        "usable_percent": 90,
    }
    return Needs(**given | fields)


@pytest.mark.parametrize(
    ("processes", "rows", "tokens"),
    [
        pytest.param(1, 16, 32_000, id="alone"),
        pytest.param(3, 6, 12_000, id="no process has more than its share, rounded up"),
        pytest.param(16, 1, 2_000, id="a row each"),
    ],
)
def test_processes_that_share_a_step_need_less_each(processes: int, rows: int, tokens: int) -> None:
    shared = make_needs().shared(processes)

    assert (shared.step_rows, shared.step_tokens) == (rows, tokens)
    assert shared.least() == make_needs().least()


@pytest.mark.parametrize(
    ("gpu", "want"),
    [
        # 17 GB stay; the whole step takes 96 GB more, half of it 48.
        pytest.param(140 * GB, (32_000, False), id="the step in one pass, in nine tenths of the memory"),
        pytest.param(125 * GB, (16_000, False), id="a larger pass may not use the last tenth"),
        pytest.param(65 * GB, (16_000, False), id="the pass that is begun with may use all"),
        pytest.param(64 * GB, (12_000, False), id="whole rows: three passes of six, five and five"),
        pytest.param(23 * GB, (2_000, False), id="row by row"),
        pytest.param(22 * GB, (16_000, True), id="with gradient checkpointing passes are large again"),
        pytest.param(17_300_000_000, (2_000, True), id="row by row, with gradient checkpointing"),
        pytest.param(17_100_000_000, None, id="not at all"),
        pytest.param(None, (16_000, False), id="a GPU that is not known: as the trainer begins"),
    ],
)
def test_a_step_takes_as_few_passes_as_the_memory_holds(
    gpu: int | None, want: tuple[int, bool] | None
) -> None:
    found = make_needs().pass_on(None if gpu is None else gpu + CONTEXT_BYTES)

    assert (found and (found.tokens, found.gradient_checkpointing)) == want


def test_logits_are_in_memory_a_part_at_a_time() -> None:
    needs = make_needs(logits_bytes=2_000_000)

    assert needs.bytes_of(1_000) == 17 * GB + 3 * GB + 1_200_000_000
    # 20 GB are more than 4 GiB: eight parts.
    assert needs.bytes_of(10_000) == 17 * GB + 30 * GB + 1_500_000_000


@given(st.integers(1, 200 * GB), st.integers(1, 64), st.integers(16, 4_000))
def test_what_is_chosen_fits_and_more_memory_never_takes_more_passes(
    gpu: int, rows: int, longest: int
) -> None:
    needs = make_needs(step_rows=rows, step_tokens=rows * longest, longest_row=longest)
    found, more = needs.pass_on(gpu + CONTEXT_BYTES), needs.pass_on(2 * gpu + CONTEXT_BYTES)

    if found is None:
        assert needs.least().bytes > gpu
        return
    assert longest <= found.tokens <= rows * longest
    assert found.bytes <= gpu
    assert more is not None
    assert (more.gradient_checkpointing, -more.tokens) <= (found.gradient_checkpointing, -found.tokens)

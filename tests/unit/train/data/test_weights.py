"""Weights of sources: how often a row is in an epoch."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden_train.data.weights import weighted


@dataclass(frozen=True)
class Entry:
    digest: bytes
    source: int = 0


def entries(count: int, *, source: int = 0) -> list[Entry]:
    return [Entry(hashlib.sha256(f"{source}:{number}".encode()).digest(), source) for number in range(count)]


@pytest.mark.parametrize("weight", [0.01, 0.1, 0.5, 1.0, 1.29, 2.5, 100.0])
def test_a_source_has_its_weight_in_rows(weight: float) -> None:
    found = Counter(weighted(entries(10_000), [weight]))

    assert sum(found.values()) == pytest.approx(10_000 * weight, abs=150)
    assert set(found.values()) <= {int(weight), int(weight) + 1}


def test_each_source_has_a_weight_of_its_own() -> None:
    rows = [*entries(3, source=0), *entries(2, source=1)]

    found = Counter(row.source for row in weighted(rows, [1.0, 3.0]))

    assert found == {0: 3, 1: 6}


@given(st.lists(st.integers(0, 2000), unique=True, max_size=50), st.floats(0.01, 4))
def test_rows_that_come_or_go_change_nothing_about_the_others(kept: list[int], weight: float) -> None:
    rows = entries(2001)
    whole, part = Counter(weighted(rows, [weight])), Counter(weighted([rows[n] for n in kept], [weight]))

    assert all(part[rows[number]] == whole[rows[number]] for number in kept)

"""Quantities are compared as numbers, whatever their suffix."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden.api.base import QUANTITY_PATTERN, amount
from modelgarden.kube.quantities import quantity, smaller


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("500m", "0.5"), (4, "4"), ("1.5", "1.5"), ("2k", "2000"), ("3M", "3000000"), ("1G", "1000000000"),
        ("1T", "1000000000000"), ("1Ki", "1024"), ("1.5Mi", "1572864"), ("16Gi", "17179869184"),
        ("1Ti", "1099511627776"), ("2Pi", "2251799813685248"),
    ],
)  # fmt: skip
def test_a_quantity_is_a_number_of_base_units(value: int | str, want: str) -> None:
    assert quantity(value) == Decimal(want)


@given(st.from_regex(QUANTITY_PATTERN, fullmatch=True))
def test_the_api_reads_an_amount_as_kubernetes_does(value: str) -> None:
    assert amount(value) == Fraction(quantity(value))


@pytest.mark.parametrize("unit", ["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"])
def test_every_unit_is_known(unit: str) -> None:
    assert amount(f"7{unit}") == Fraction(quantity(f"7{unit}"))


def test_what_is_no_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="Invalid number format"):
        quantity("1GiB")


@given(st.from_regex(QUANTITY_PATTERN, fullmatch=True))
def test_what_the_api_takes_is_a_positive_number(value: str) -> None:
    assert quantity(value) > 0


@pytest.mark.parametrize(
    ("one", "other", "want"),
    [
        ("1500m", "2", "1500m"),
        ("1G", "1Gi", "1G"),
        ("1Pi", "2Gi", "2Gi"),
        (1, "500m", "500m"),
        ("1024Mi", "1Gi", "1Gi"),
    ],
)
def test_the_smaller_one_is_kept_as_it_is_written(one: int | str, other: str, want: str) -> None:
    assert smaller(one, other) == want

"""Quantities such as 500m and 16Gi, as Kubernetes reads them."""

from __future__ import annotations

from decimal import Decimal

from kubernetes.utils.quantity import parse_quantity


def quantity(value: int | str) -> Decimal:
    """Return the number that a quantity stands for, in the resource's base unit: cores or bytes.

    Raises:
        ValueError: it is none.
    """
    return Decimal(parse_quantity(value))  # type: ignore[no-untyped-call]


def smaller(one: int | str, other: int | str) -> int | str:
    """Return the smaller of two quantities as it is written, of two that are equal the second."""
    return one if quantity(one) < quantity(other) else other

"""Kubernetes quantities as numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

_SUFFIXES: Final = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
}  # fmt: skip


def in_units(quantity: int | str) -> Decimal:
    """Return a quantity in its unit: cores, bytes, devices."""
    text = str(quantity)
    number = text.rstrip("numkKMGTPi")
    return Decimal(number) * _SUFFIXES.get(text.removeprefix(number), Decimal(1))

"""Hosts that datasets may come from."""

from __future__ import annotations

import pytest

from modelgarden.api.hosts import is_allowed


@pytest.mark.parametrize(
    ("host", "want"),
    [
        ("data.example.org", True),
        ("Data.Example.ORG.", True),
        ("other.example.org", False),
        ("data.example.org.evil.com", False),
        ("a.open.example", True),
        ("a.b.open.example", True),
        ("open.example", False),
        ("xopen.example", False),
        ("", False),
    ],
)
def test_a_host_is_allowed_by_its_name_or_by_a_domain_above_it(host: str, want: bool) -> None:
    assert is_allowed(host, ("data.example.org", "*.open.example")) is want


def test_nothing_is_allowed_by_default() -> None:
    assert not is_allowed("data.example.org", ())

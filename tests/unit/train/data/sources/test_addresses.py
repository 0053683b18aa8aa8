"""Addresses that nothing is fetched from, in every form that they can be written in."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

import pytest

from modelgarden_pod.errors import TemporaryError, UserError
from modelgarden_train.data.sources.addresses import refusal_of
from modelgarden_train.data.sources.web import public_addresses


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "127.0.0.1", "127.8.8.8", "0.0.0.0",
        "169.254.169.254", "169.254.1.1", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192",
        "198.18.0.1", "192.0.2.1", "203.0.113.5", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1",
        "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
        "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::",
    ],
)  # fmt: skip
def test_what_is_not_of_the_internet_is_refused(address: str) -> None:
    assert refusal_of(ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:8.8.8.8",
     "64:ff9b::8.8.8.8"],
)  # fmt: skip
def test_what_is_of_the_internet_is_taken(address: str) -> None:
    assert refusal_of(ip_address(address)) is None


def answers(*addresses: str) -> Any:
    def resolve(host: str, port: None, **options: Any) -> list[Any]:
        families = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(families[":" in one], socket.SOCK_STREAM, 6, "", (one, 0)) for one in addresses]

    return resolve


def test_a_host_with_one_address_of_a_private_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answers("8.8.8.8", "fe80::1%eth0"))

    with pytest.raises(UserError, match=r"data\.example\.org: fe80::1 is an address of a private") as refused:
        public_addresses("data.example.org")

    assert refused.value.reason == "AccessDenied"


def test_a_host_of_the_internet_has_its_addresses_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answers("8.8.8.8", "8.8.4.4", "8.8.8.8"))

    assert list(map(str, public_addresses("data.example.org"))) == ["8.8.8.8", "8.8.4.4"]


def test_a_name_that_cannot_be_resolved_may_be_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    with pytest.raises(
        TemporaryError, match=r"the name data\.example\.org cannot be resolved: Temporary failure"
    ):
        public_addresses("data.example.org")

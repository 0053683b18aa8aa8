"""Settings from the environment."""

from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import ValidationError

from modelgarden.__main__ import main
from modelgarden.settings import Settings


@pytest.fixture(autouse=True)
def images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELGARDEN_TRAIN_IMAGE", "train:1")
    monkeypatch.setenv("MODELGARDEN_SERVE_IMAGE", "serve:1")


@pytest.mark.parametrize(
    ("value", "want"), [("", ()), ("team", ("team",)), ("team, other ,", ("team", "other"))]
)
def test_namespaces_are_separated_by_commas(
    monkeypatch: pytest.MonkeyPatch, value: str, want: tuple[str, ...]
) -> None:
    monkeypatch.setenv("MODELGARDEN_WATCH_NAMESPACES", value)
    assert Settings().watch_namespaces == want


def test_an_empty_zone_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELGARDEN_DEFAULT_ZONE", "")
    assert Settings().default_zone is None


def test_allowed_hosts_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().dataset_allowed_hosts == ()
    monkeypatch.setenv("MODELGARDEN_DATASET_ALLOWED_HOSTS", "data.example.org, *.open.example")
    assert Settings().dataset_allowed_hosts == ("data.example.org", "*.open.example")


def test_prices_are_by_product_and_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().gpu_prices == {}
    monkeypatch.setenv("MODELGARDEN_GPU_PRICES", "NVIDIA-L4=0.80, Tesla-T4=1")
    assert Settings().gpu_prices == {"NVIDIA-L4": Decimal("0.80"), "Tesla-T4": Decimal(1)}


@pytest.mark.parametrize("host", ["*", "localhost", "https://data.example.org", "*.*.org", "a.org:8443"])
def test_what_is_no_host_ends_the_start(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("MODELGARDEN_DATASET_ALLOWED_HOSTS", host)
    with pytest.raises(SystemExit, match=r"dataset\.allowedHosts.*which is no host; use one such as"):
        main()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKERS", "0"),
        ("DEFAULT_PUE", "0.9"),
        ("RESYNC_SECONDS", "0"),
        ("LOG_FORMAT", "xml"),
        ("CURRENCY", "dollars"),
        ("TRAIN_IMAGE", ""),
    ],
)
def test_a_wrong_value_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"MODELGARDEN_{name}", value)
    with pytest.raises(ValidationError, match=rf"1 validation error for Settings\n{name.lower()}\n"):
        Settings()


def test_the_images_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELGARDEN_TRAIN_IMAGE")
    with pytest.raises(ValidationError, match="train_image"):
        Settings()


def test_a_default_zone_without_an_intensity_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELGARDEN_DEFAULT_ZONE", "GER")
    with pytest.raises(SystemExit, match=r"carbon\.defaultZone.*'GER'.*such as DEU"):
        main()

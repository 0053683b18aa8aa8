"""The images' lock files agree on what they share."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def versions(image: str) -> dict[str, str]:
    lock = tomllib.loads((ROOT / "images" / image / "uv.lock").read_text())
    return {package["name"]: package["version"] for package in lock["package"]}


@pytest.mark.parametrize("image", ["train", "serve"])
def test_the_image_has_the_shared_layers_versions(image: str) -> None:
    shared = {name: version for name, version in versions("torch").items() if name != "modelgarden-torch"}

    assert shared["torch"] == "2.13.0"
    assert shared.items() <= versions(image).items()


def test_llama_cpp_is_built_for_the_libraries_that_it_finds_beside_it() -> None:
    own = {name: version for name, version in versions("gguf").items() if name in versions("train")}

    assert {"jinja2", "numpy", "typing-extensions"} <= own.keys()
    assert own.items() <= versions("train").items()


def test_the_dockerfiles_begin_with_the_same_stages() -> None:
    """BuildKit shares layers whose instructions are the same, word by word."""
    heads = []
    for image in ("train", "serve"):
        text = (ROOT / f"Dockerfile.{image}").read_text()
        head, found, _ = text.partition(f"FROM torch AS {image}")
        assert found, f"Dockerfile.{image} has no stage {image} on top of torch"
        heads.append([line for line in head.splitlines() if line and not line.startswith("#")])

    assert heads[0] == heads[1]

"""Images: what a build reads, and that an image is built anew when one of its inputs changes and only then."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hack.cluster.containerd import Containerd
from hack.cluster.errors import ClusterError
from hack.cluster.images import PROJECT_IMAGES, Image, ImageBuilder, context_files
from hack.cluster.paths import REPOSITORY

FILES = (
    "app/main.py", "app/data/rows.txt", "app/__pycache__/main.pyc", "app/.venv/bin/python", ".git/HEAD",
    "lock.txt", "pins/a.lock", "pins/b.lock", "pins/readme.md", "tests/test_app.py",
)  # fmt: skip


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A build context."""
    folder = tmp_path / "context"
    for name in FILES:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return folder


def image_of(context: Path, dockerfile: str = "COPY app lock.txt /app/") -> Image:
    """Return an image of a Dockerfile."""
    file = context / "Dockerfile"
    file.write_text(f"ARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\n{dockerfile}\n")
    return Image("example.com/app:dev", file, context=context)


@pytest.mark.parametrize(
    ("dockerfile", "want"),
    [
        ("RUN true", []),
        ("COPY lock.txt /app/", ["lock.txt"]),
        ("copy ./lock.txt /app/", ["lock.txt"]),
        ("COPY app /app", ["app/data/rows.txt", "app/main.py"]),
        ("COPY app/ lock.txt /app/", ["app/data/rows.txt", "app/main.py", "lock.txt"]),
        ("COPY lock.txt \\\n    app/main.py \\\n    /app/", ["app/main.py", "lock.txt"]),
        ("COPY --chown=1:1 --link lock.txt /app/", ["lock.txt"]),
        ("COPY pins/*.lock /app/", ["pins/a.lock", "pins/b.lock"]),
        ("ADD pins /app/", ["pins/a.lock", "pins/b.lock", "pins/readme.md"]),
        ("COPY --from=builder app /app", []),
        ("RUN --mount=type=bind,source=lock.txt,target=/lock cat /lock", ["lock.txt"]),
        ("RUN --mount=type=bind,src=pins,target=/pins \\\n  --mount=type=cache,target=/c true",
         ["pins/a.lock", "pins/b.lock", "pins/readme.md"]),
        ("RUN --mount=type=bind,from=builder,source=app,target=/app true", []),
        ("RUN --mount=type=secret,id=pip,target=/etc/pip.conf pip install --no-cache-dir app", []),
        ("# COPY lock.txt /app/", []),
    ],
)  # fmt: skip
def test_the_context_is_what_the_dockerfile_takes(context: Path, dockerfile: str, want: list[str]) -> None:
    found = context_files(image_of(context, dockerfile))
    assert [str(file.relative_to(context)) for file in found] == want


@pytest.mark.parametrize(
    "dockerfile", ["COPY . /app", "ADD ./ /app", "RUN --mount=type=bind,target=/src make -C /src"]
)
def test_the_whole_context_is_all_but_caches_and_history(context: Path, dockerfile: str) -> None:
    found = {str(file.relative_to(context)) for file in context_files(image_of(context, dockerfile))}
    assert found == {
        "Dockerfile", "app/main.py", "app/data/rows.txt", "lock.txt", "pins/a.lock", "pins/b.lock",
        "pins/readme.md", "tests/test_app.py",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "want", "unwanted"),
    [
        ("operator", {"uv.lock", "operator/modelgarden/__main__.py"}, ("tests", "images", "hack", "docs")),
        ("train", {"images/train/uv.lock", "operator/modelgarden/api/names.py"},
         ("tests", "images/serve", "operator/modelgarden/runtime", "operator/modelgarden/kube")),
        ("serve", {"images/serve/uv.lock", "operator/modelgarden/api/names.py"},
         ("tests", "images/train", "operator/modelgarden/runtime", "operator/modelgarden/kube")),
    ],
)  # fmt: skip
def test_the_project_s_images_take_their_own_sources_only(
    name: str, want: set[str], unwanted: tuple[str, ...]
) -> None:
    image = next(one for one in PROJECT_IMAGES if f"/{name}:" in one.name)
    found = {str(file.relative_to(REPOSITORY)) for file in context_files(image)}
    assert want <= found
    assert not [file for file in found if file.startswith(tuple(f"{folder}/" for folder in unwanted))]


class Store(Containerd):
    """An image store that has every image, and notes by which label the built one was asked for."""

    def __init__(self, folder: Path, base_digest: str = "sha256:base") -> None:
        super().__init__(folder)
        self.asked: list[str] = []
        self._base_digest = base_digest

    def has_image(self, name: str, label: str = "") -> bool:
        if label:
            self.asked.append(label)
        return True

    def digest(self, name: str) -> str:
        return f"{name}@{self._base_digest}"


def key(image: Image, base_digest: str = "sha256:base") -> str:
    """Return the label that makes an image of the store count as up to date."""
    store = Store(image.context / "cluster", base_digest)
    assert not ImageBuilder(store).build(image), "what the store has was built again"
    (label,) = store.asked
    return label


Change = Callable[[Image], Image]


def on(name: str, act: Callable[[Path], object]) -> Change:
    """Return a change to one file of the context."""

    def change(image: Image) -> Image:
        act(image.context / name)
        return image

    return change


def written(name: str) -> Change:
    return on(name, lambda file: file.write_text("changed"))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(written("app/main.py"), id="a file"),
        pytest.param(on("app/main.py", lambda file: file.chmod(0o755)), id="a file's mode"),
        pytest.param(written("app/new.py"), id="a new file"),
        pytest.param(on("app/main.py", Path.unlink), id="a file less"),
        pytest.param(
            on("app/main.py", lambda file: file.rename(file.with_name("other.py"))), id="a file's name"
        ),
        pytest.param(
            lambda image: image_of(image.context, "COPY app lock.txt /app/\nUSER 1"), id="the Dockerfile"
        ),
        pytest.param(lambda image: replace(image, arguments={"DEVICE": "cuda"}), id="a build argument"),
        pytest.param(lambda image: replace(image, target="tests"), id="the stage"),
    ],
)
def test_an_input_that_changes_makes_another_key(context: Path, change: Change) -> None:
    image = image_of(context)
    before = key(image)
    assert key(change(image)) != before


def test_another_base_image_makes_another_key(context: Path) -> None:
    image = image_of(context)
    assert key(image, "sha256:new") != key(image, "sha256:base")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(written("tests/test_app.py"), id="a file that is not copied"),
        pytest.param(written("app/__pycache__/main.pyc"), id="compiled Python"),
        pytest.param(written("app/.venv/bin/python"), id="a virtual environment"),
        pytest.param(on("app/main.py", lambda file: os.utime(file, (1, 1))), id="a file's time"),
        pytest.param(lambda image: replace(image, free_gib=99), id="the disk that a build takes"),
    ],
)
def test_what_is_no_input_changes_nothing(context: Path, change: Change) -> None:
    image = image_of(context)
    before = key(image)
    assert key(change(image)) == before


def test_another_checkout_of_the_same_sources_has_the_same_key(context: Path, tmp_path: Path) -> None:
    before = key(image_of(context))
    elsewhere = shutil.copytree(context, tmp_path / "elsewhere")
    assert key(image_of(elsewhere)) == before


def test_a_dockerfile_that_is_not_there_is_told(context: Path) -> None:
    image = Image("example.com/app:dev", context / "Dockerfile.absent", context=context)
    with pytest.raises(ClusterError, match=r"there is no .*Dockerfile\.absent"):
        ImageBuilder(Store(context)).build(image)

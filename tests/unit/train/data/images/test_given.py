"""Images beside rows: which are brought, and what is told of those that are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelgarden.api.finetunejob import Vision
from modelgarden.api.pods import PodDataset, PodSource
from modelgarden_pod.retry import Patience
from modelgarden_train.data.images import given
from modelgarden_train.data.images.given import content_at, fetch_images, image_file
from modelgarden_train.data.rows import RowError
from modelgarden_train.data.sources.files import Fetched, SourceFile, recorded
from tests.unit.train.builders import make_config
from tests.unit.train.data.images.pngs import inline, png


def fetched(folder: Path, *images: str, name: str = "", uri: str = "") -> Fetched:
    rows = [{"image": image, "text": "What?", "response": "That"} for image in images]
    path = folder / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in [*rows, {"text": 7}]))
    record = recorded(uri or path.as_uri(), [("rows.jsonl", "a" * 64)])
    return Fetched(files=(SourceFile(0, name or path.as_uri(), path),), record=record)


def bring(folder: Path, source: Fetched, **fields: Any) -> tuple[Fetched, Path]:
    dataset = PodDataset(sources=(PodSource(uri=source.record.uri),))
    config = make_config(dataset=dataset, vision=Vision(), **fields)
    (found,) = fetch_images(config, [source], folder / "given", patience=Patience())
    return found, folder / "given"


def test_images_beside_the_rows_are_brought_and_are_part_of_the_source_s_digest(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/1.png").write_bytes(png())
    source = fetched(tmp_path, "images/1.png", inline(png(28, 28)))

    found, folder = bring(tmp_path, source)
    again, _ = bring(tmp_path, source)
    (tmp_path / "images/1.png").write_bytes(png(colour=(1, 2, 3)))
    changed, _ = bring(tmp_path, source)

    assert content_at(image_file(folder, tmp_path.as_uri(), "images/1.png")) == png(colour=(1, 2, 3))
    assert found.record.digest == again.record.digest
    assert len({source.record.digest, found.record.digest, changed.record.digest}) == 3


def test_an_image_that_is_not_there_says_so_where_its_row_is_made(tmp_path: Path) -> None:
    _, folder = bring(tmp_path, fetched(tmp_path, "1.png"))

    with pytest.raises(RowError, match="is not there; upload it, or correct its path"):
        content_at(image_file(folder, tmp_path.as_uri(), "1.png"))


def test_an_image_that_is_too_large_is_not_brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given, "LARGEST_FILE_BYTES", 10)
    (tmp_path / "1.png").write_bytes(png())
    _, folder = bring(tmp_path, fetched(tmp_path, "1.png"))

    with pytest.raises(RowError, match="is larger than"):
        content_at(image_file(folder, tmp_path.as_uri(), "1.png"))


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("hf://org/squares", "hf://org/squares/rows.jsonl"),
        ("https://host/rows.jsonl", "https://host/rows.jsonl"),
        ("s3://data/rows.jsonl.dvc", "s3://cache/ab/cdef"),
    ],
)
def test_where_no_image_lies_beside_rows_it_is_said_how_to_give_them(
    uri: str, name: str, tmp_path: Path
) -> None:
    _, folder = bring(tmp_path, fetched(tmp_path, "1.png", name=name, uri=uri))

    with pytest.raises(RowError, match="or put the images into the rows"):
        content_at(image_file(folder, name.rpartition("/")[0], "1.png"))


def test_an_image_of_a_volume_must_lie_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given, "MOUNTED_SOURCES", str(tmp_path / "mounts"))
    volume = tmp_path / "mounts/pvc/claim"
    volume.mkdir(parents=True)
    (volume / "in.png").write_bytes(png())
    (tmp_path / "secret").write_bytes(png())
    (volume / "out.png").symlink_to(tmp_path / "secret")
    source = fetched(
        tmp_path, "in.png", "out.png", name="pvc://claim/rows.jsonl", uri="pvc://claim/rows.jsonl"
    )

    _, folder = bring(tmp_path, source)

    assert content_at(image_file(folder, "pvc://claim", "in.png")) == png()
    with pytest.raises(RowError, match=r"cannot be read: .* is a link to a place outside of its volume"):
        content_at(image_file(folder, "pvc://claim", "out.png"))

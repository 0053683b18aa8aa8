"""Images of rows: found, kept once, and as many tokens as the model gives them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelgarden_train.data.chat import Encoded
from modelgarden_train.data.formats import parse_row
from modelgarden_train.data.images import looking
from modelgarden_train.data.images.archive import Archive, write_archive
from modelgarden_train.data.images.given import image_file
from modelgarden_train.data.images.looking import Looking, with_counts
from modelgarden_train.data.rows import Row, RowError
from tests.unit.train.data.images.pngs import inline, png

BESIDE = "s3://data/parts"
MARK = 99


@dataclass(frozen=True)
class Squares:
    """A token for each square of 28 pixels."""

    mark: int = MARK

    def count(self, height: int, width: int) -> int:
        return height // 28 * (width // 28)


def make_looking(folder: Path) -> Looking:
    for name in ("given", "kept"):
        (folder / name).mkdir(exist_ok=True)
    return Looking(given=folder / "given", kept=folder / "kept", load_tokens=Squares)


def row_with(*images: object) -> Row:
    return parse_row({"images": list(images), "text": "What?", "response": "That"}, "Vision")


def given(folder: Path, path: str, content: bytes) -> None:
    (folder / "given").mkdir(exist_ok=True)
    image_file(folder / "given", BESIDE, path).write_bytes(content)


def test_the_same_image_is_kept_once_however_rows_name_it(tmp_path: Path) -> None:
    content = png()
    given(tmp_path, "a.png", content)
    given(tmp_path, "b.png", content)
    looker = make_looking(tmp_path)

    rows = [
        looker.looked_at(row_with(image), BESIDE)
        for image in ("a.png", "b.png", inline(content), {"bytes": content, "path": None}, content)
    ]

    assert {row.images for row in rows} == {(hashlib.sha256(content).hexdigest(),)}
    assert len({row.digest for row in rows}) == 1
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [hashlib.sha256(content).hexdigest()]


def test_rows_that_differ_in_the_image_alone_are_not_equal(tmp_path: Path) -> None:
    looker = make_looking(tmp_path)
    one, other = (
        looker.looked_at(row_with(inline(png(colour=colour))), BESIDE) for colour in ((1, 1, 1), (2, 2, 2))
    )

    assert one.digest != other.digest
    assert one.prompt_digest != other.prompt_digest


@pytest.mark.parametrize(
    ("image", "told"),
    [
        ("a.png", "the image 'a.png' is not there; upload it"),
        ("data:image/png;base64,A", "image 1 is no base64"),
        (inline(b"text"), "image 1 is no image in one of the formats"),
    ],
)
def test_an_image_that_cannot_be_seen_is_named(image: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(RowError) as raised:
        make_looking(tmp_path).looked_at(row_with(image), BESIDE)

    assert str(raised.value).startswith(told)


def test_an_image_takes_its_tokens_and_moves_what_comes_after_it(tmp_path: Path) -> None:
    looker = make_looking(tmp_path)
    row = looker.looked_at(row_with(inline(png(56, 56)), inline(png(28, 56))), BESIDE)

    whole = looker.expanded(row, Encoded([1, MARK, 2, MARK, 3, 4, 5], ((4, 5), (5, 7))))

    assert whole == Encoded([1, *[MARK] * 4, 2, *[MARK] * 2, 3, 4, 5], ((8, 9), (9, 11)))


def test_sizes_that_were_forgotten_are_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "_KEPT_SIZES", 1)
    looker = make_looking(tmp_path)
    row = looker.looked_at(row_with(inline(png(56, 56)), inline(png(28, 56))), BESIDE)

    whole = looker.expanded(row, Encoded([MARK, MARK, 1], ((2, 3),)))

    assert isinstance(whole, Encoded)
    assert len(whole.ids) == 7


@pytest.mark.parametrize("ids", [[1, 2], [MARK, MARK, 1]], ids=["not shown", "mark in a text"])
def test_marks_that_are_not_the_row_s_images_are_refused(ids: list[int], tmp_path: Path) -> None:
    looker = make_looking(tmp_path)
    row = looker.looked_at(row_with(inline(png())), BESIDE)

    wrong = looker.expanded(row, Encoded(ids, ((1, 2),)))

    assert isinstance(wrong, RowError)
    assert f"has {ids.count(MARK)} marks of images and the row has 1 images" in str(wrong)


def test_a_row_without_images_is_as_it_was(tmp_path: Path) -> None:
    row = parse_row({"prompt": "a", "completion": "b"}, "PromptCompletion")
    encoded = Encoded([1, 2, 3], ((1, 3),))
    looker = make_looking(tmp_path)

    assert looker.looked_at(row, BESIDE) == row
    assert looker.expanded(row, encoded) == encoded
    assert with_counts(encoded, {}) == encoded


def test_an_archive_is_the_same_for_the_same_images(tmp_path: Path) -> None:
    contents = {hashlib.sha256(content).hexdigest(): content for content in (png(), png(28, 28), png(84, 28))}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)

    write_archive(tmp_path, [*contents, *contents], tmp_path / "one.tar")
    write_archive(tmp_path, [*reversed(contents)], tmp_path / "other.tar")

    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "other.tar").read_bytes()
    archive = Archive(tmp_path / "one.tar")
    assert len(archive) == 3
    assert {name: archive.read(name) for name in contents} == contents

"""The best weights as files: in every checkpoint, and back from one."""

from __future__ import annotations

from pathlib import Path

from modelgarden_train.objectives.best import BestWeights


def make_checkpoint(folder: Path, step: int, **files: str) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    for name, text in files.items():
        (path / f"{name}.safetensors").write_text(text)
    return path


def keep(folder: Path, text: str) -> BestWeights:
    """Return the weights of a step that has become the best one."""
    best = BestWeights(folder)
    best.forget()
    (folder / "best.safetensors").write_text(text)
    return best


def test_a_checkpoint_holds_what_was_the_best_when_it_was_written(tmp_path: Path) -> None:
    first, second = make_checkpoint(tmp_path, 1, adapter_model="one"), make_checkpoint(tmp_path, 2)

    keep(tmp_path / "best", "best of one").lay_beside(first)
    keep(tmp_path / "best", "best of two").lay_beside(second)

    assert (first / "best.safetensors").read_text() == "best of one"
    assert (second / "best.safetensors").read_text() == "best of two"


def test_an_attempt_goes_on_with_the_best_of_its_checkpoint_alone(tmp_path: Path) -> None:
    parts = {"best-00001-of-00002": "a", "best-00002-of-00002": "b", "model": "all"}
    checkpoint = make_checkpoint(tmp_path, 5, **parts)
    best = keep(tmp_path / "best", "of a step that is done again")

    best.restore(checkpoint)

    kept = {file.name: file.read_text() for file in (tmp_path / "best").iterdir()}
    assert kept == {"best-00001-of-00002.safetensors": "a", "best-00002-of-00002.safetensors": "b"}


def test_a_checkpoint_that_a_killed_attempt_left_is_written_anew(tmp_path: Path) -> None:
    left = make_checkpoint(tmp_path, 5, **{"best": "older", "best-00001-of-00002": "a part"})

    keep(tmp_path / "best", "newer").lay_beside(left)

    assert [file.read_text() for file in left.iterdir()] == ["newer"]

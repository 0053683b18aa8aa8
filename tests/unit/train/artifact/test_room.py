"""What the exports take of the disk, and a disk that has less."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from modelgarden_pod.errors import PodError
from modelgarden_train.artifact.room import export_bytes, require_room
from tests.unit.train.builders import make_config

WEIGHTS = 1600


@pytest.mark.parametrize(
    ("fields", "want"),
    [
        ({"formats": ("Adapter",)}, 0),
        ({"formats": ("Adapter", "Merged16Bit")}, 1600),
        ({"formats": ("GGUF",)}, 1600 + 1600 + 490),
        ({"formats": ("GGUF", "Merged16Bit"), "gguf": {"quantization": "Q8_0"}}, 1600 + 1600 + 850),
        ({"formats": ("GGUF",), "gguf": {"quantization": "F16"}}, 1600 + 1600),
        ({"method": "Full", "formats": ("Merged16Bit",)}, 1600),
    ],
    ids=["an adapter is small", "merged", "by default", "nearly half", "not quantised", "full training"],
)
def test_all_that_lies_there_at_a_time_is_counted(fields: dict[str, object], want: int) -> None:
    assert export_bytes(make_config(**fields), WEIGHTS) == want


def test_a_disk_that_is_too_small_is_told_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"0" * WEIGHTS)
    config = make_config(formats=("GGUF",))

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3690))
    require_room(config, base=tmp_path, target=tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3689))
    with pytest.raises(PodError, match="the exports GGUF take up to") as refused:
        require_room(config, base=tmp_path, target=tmp_path)

    assert refused.value.reason == "TrainingFailed"
    assert refused.value.exit_code == 1, "another node may have more"

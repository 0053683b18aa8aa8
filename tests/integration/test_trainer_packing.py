"""Rows that share a pass come out as they would one by one, with the real models' code on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.trainer_process import printed_by

PROBE = Path(__file__).with_name("packing_probe.py")
NOTHING = 1e-5


def probed(family: str, folder: Path) -> dict[str, Any]:
    """Return what the probe prints of a family."""
    return printed_by(PROBE, family, folder=folder)


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3", "gemma", "phi3"])
def test_rows_that_share_a_pass_come_out_as_they_would_alone(family: str, tmp_path: Path) -> None:
    found = probed(family, tmp_path)

    assert found["why_padded"] is None
    assert found["logits"] < NOTHING
    assert found["moved_itself"] > 1000 * NOTHING  # the change is one that would show
    assert found["moved_others"] < NOTHING
    assert found["passes"] == 2
    assert found["loss"] > 1
    assert found["largest_gradient"] > 1000 * NOTHING
    assert set(found["losses"]) == {"together", "split", "padded"}
    assert max(found["losses"].values()) < NOTHING
    assert max(found["gradients"].values()) < NOTHING


def test_a_family_without_a_kernel_for_them_is_padded(tmp_path: Path) -> None:
    assert "no kernel" in probed("gemma2", tmp_path)["why_padded"]

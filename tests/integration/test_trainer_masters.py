"""Adapters of 16 bits that masters of 32 bits lead are trained as adapters of 32 bits are, with the real PyTorch."""

from __future__ import annotations

from pathlib import Path

from tests.integration.trainer_process import printed_by

PROBE = Path(__file__).with_name("masters_probe.py")
ROUNDED = 1e-6


def test_weights_that_masters_lead_come_out_the_same_also_when_they_are_gone_on_with(tmp_path: Path) -> None:
    found = printed_by(PROBE, str(tmp_path), folder=tmp_path)

    assert found["types"] == ["torch.bfloat16"]
    assert found["restored"] == ["torch.float32"]
    assert found["moved"] > 1000 * ROUNDED
    assert found["led"] < ROUNDED
    assert found["norms"] < ROUNDED
    assert found["resumed"] < ROUNDED
    assert found["former"] == 0
    assert found["steps"] == [6, 6]
    assert found["adapters"] == ["torch.float32"]
    assert found["learned"] > 1000 * ROUNDED
    assert found["gone_on"] < ROUNDED

"""Whatever was said, a message is one short line of valid text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelgarden.api.messages import clean


@given(st.text(max_size=5000), st.integers(min_value=16, max_value=2000))
def test_any_text_becomes_one_short_line(text: str, length: int) -> None:
    line = clean(text, length=length)

    assert len(line.encode()) <= length
    assert "\n" not in line
    assert "\x00" not in line

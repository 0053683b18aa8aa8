"""The example that people are shown."""

from __future__ import annotations

from typing import Any

from modelgarden_train.data.report.example import EXAMPLE_CHARACTERS, rendered_example


class Letters:
    """Decodes tokens that are characters."""

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))


def shown(text: str) -> str:
    tokenizer: Any = Letters()
    return rendered_example(tokenizer, [ord(one) for one in text])


def test_a_short_row_is_shown_whole_and_a_long_one_in_part() -> None:
    assert shown("<s>Where? Paris.</s>") == "<s>Where? Paris.</s>"
    long = shown("word " * 1000)
    assert len(long) == EXAMPLE_CHARACTERS
    assert long.endswith(" ...")


def test_no_key_and_no_address_shows_wherever_it_is_cut() -> None:
    key = "hf_" + "a1B2" * 9
    for before in range(EXAMPLE_CHARACTERS - 60, EXAMPLE_CHARACTERS + 10):
        text = shown("x" * (before - 1) + f" {key} anna@gmail.com and more " * 30)
        assert "a1B2" not in text
        assert "anna" not in text


def test_the_token_for_each_piece_of_an_image_is_shown_once() -> None:
    assert shown("<s>" + "<|image_pad|>" * 320 + "What?") == "<s><|image_pad|> x 320What?"

"""Near duplicates: found whatever the script, unlike texts left alone, the same on every machine."""

# ruff: noqa: RUF001 -- Chinese and Japanese signs are meant

from __future__ import annotations

import hashlib
import random

import pytest

from modelgarden_train.data.quality.near_duplicates import NearDuplicates, sketches

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def sentence(number: int, *, words: int = 60) -> list[str]:
    chance = random.Random(number)
    return ["".join(chance.choices(LETTERS, k=chance.randint(2, 9))) for _ in range(words)]


def found(texts: list[str], threshold: float = 0.8) -> dict[int, int]:
    near = NearDuplicates(threshold)
    for sketch in sketches(texts):
        near.add(sketch)
    return near.found()


def runs(text: str) -> set[str]:
    return {text[place : place + 5] for place in range(len(text) - 4)}


def test_texts_that_differ_in_a_word_are_found_and_unlike_ones_are_not() -> None:
    texts = [" ".join(sentence(number)) for number in range(2000)]
    edited = [" ".join([*sentence(number)[:-1], "changed"]) for number in range(0, 2000, 4)]

    assert found([*texts, *edited]) == {2000 + place: 4 * place for place in range(500)}


def test_case_white_space_and_the_width_of_letters_make_no_difference() -> None:
    text = " ".join(sentence(1))

    assert found([text, text.upper().replace(" ", "\n "), text.translate({ord("a"): "\uff41"})]) == {
        1: 0,
        2: 0,
    }


@pytest.mark.parametrize(
    "text",
    [
        "机器学习是人工智能的一个分支，它使用统计方法让计算机从数据中学习规律，并在新的数据上作出预测，而不需要人们把每一条规则都写成程序。",
        "機械学習は人工知能の一分野であり、統計的な手法を用いて計算機にデータから規則性を学ばせ、新しいデータについて予測を行うものである。",
    ],
)
def test_texts_without_spaces_are_held_against_each_other_too(text: str) -> None:
    shuffled = "".join(random.Random(1).sample(text, len(text)))

    assert found([text, text[:-1] + "！", shuffled]) == {1: 0}


def test_the_threshold_holds_within_the_error_of_the_estimate() -> None:
    """Pairs whose similarity is told exactly: of those 0.1 above it nearly all are found, of those below none."""
    pairs: list[tuple[float, int]] = []
    texts: list[str] = []
    for number in range(400):
        words = sentence(number)
        changed = list(words)
        for place in random.Random(number).sample(range(60), number % 12):
            changed[place] = "".join(random.Random(place + number).choices(LETTERS, k=6))
        one, other = " ".join(words), " ".join(changed)
        pairs.append((len(runs(one) & runs(other)) / len(runs(one) | runs(other)), len(texts)))
        texts += [one, other]

    near = found(texts, 0.8)

    above = [place + 1 in near for similarity, place in pairs if similarity >= 0.9]
    below = [place + 1 in near for similarity, place in pairs if similarity <= 0.7]
    assert len(above) > 50
    assert len(below) > 50
    assert sum(above) >= 0.99 * len(above)
    assert sum(below) <= 0.01 * len(below)


def test_of_a_chain_those_are_left_that_are_like_none_before_them() -> None:
    """b is like a and c is like b, but c is not like a: c stays, as b is gone."""
    words = sentence(7, words=100)
    first, second, third = (
        " ".join([f"x{number}y" if place < number else word for place, word in enumerate(words)])
        for number in (0, 6, 12)
    )

    assert found([first, second, third], 0.8) in ({1: 0}, {1: 0, 2: 0})
    assert found([first] * 3) == {1: 0, 2: 0}


@pytest.mark.parametrize("text", ["", "a", "abcd", "\ud800broken", "a" * 100_000])
def test_texts_of_any_kind_are_like_themselves(text: str) -> None:
    assert found([text, "quite another text that is longer than that", text]) == {2: 0}


def test_nothing_is_found_where_there_is_nothing() -> None:
    assert sketches([]) == []
    assert found([]) == {}


def test_a_sketch_does_not_depend_on_machine_or_company() -> None:
    """Kept between versions: the digest of a prepared dataset depends on it."""
    text = " ".join(sentence(3))

    alone, among = sketches([text])[0], sketches(["other", text, "another"])[1]

    assert alone == among
    assert len(alone) == 256
    assert hashlib.sha256(alone).hexdigest()[:16] == "72299454dbcd9486"

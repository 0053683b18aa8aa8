"""Rendering with a chat template, tried on a tokenizer that only renders."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from modelgarden_pod.errors import UserError
from modelgarden_train.data.chat import PLAIN_TEMPLATE, Encoded, complete_tokenizer, encode, stop_token_ids
from modelgarden_train.data.formats import parse_row
from modelgarden_train.data.rows import Row, RowError

ROW = replace(parse_row({"prompt": "2+2?", "completion": "4"}, "PromptCompletion"), line=7)


@dataclass
class Token:
    special: bool
    content: str = ""


@dataclass
class Places:
    """Where the tokens of a text stand in it: each is a character, but for one of two."""

    pair: int | None = None

    def char_to_token(self, character: int) -> int:
        return character if self.pair is None or character <= self.pair else character - 1

    def token_to_chars(self, token: int) -> tuple[int, int]:
        if self.pair is None or token < self.pair:
            return token, token + 1
        return (token, token + 2) if token == self.pair else (token + 1, token + 2)


class Batch(dict[str, list[list[int]]]):
    """Texts as tokens."""

    encodings: list[Places] | None = None


@dataclass
class StandIn:
    """The part of a tokenizer that rendering needs."""

    chat_template: str | None = "set"
    eos_token: str | None = "<end>"
    pad_token: str | None = None
    unk_token: str | None = None
    eos_token_id: int = 2
    is_fast: bool = True
    header: str = ""
    """What stands before an answer."""
    appends: bool = True
    end_of_turn: str = "<end>"
    refused_roles: tuple[str, ...] = ()
    added_tokens_decoder: dict[int, Token] = field(
        default_factory=lambda: {
            2: Token(special=True, content="<end>"),
            9: Token(special=True, content="<turn>"),
            5: Token(special=False, content="<tool>"),
        }
    )

    def __call__(self, texts: list[str], *, add_special_tokens: bool = True, **options: bool) -> Batch:
        """Return characters as tokens; two line feeds are one, the token 10,000."""
        batch = Batch(input_ids=[])
        places = []
        for text in texts:
            pair = text.find("\n\n")
            places.append(Places(None if pair < 0 else pair))
            ids = map(ord, text.replace("\n\n", chr(10_000), 1))
            batch["input_ids"].append([*([1] if add_special_tokens else []), *ids])
        batch.encodings = places if self.is_fast else None
        return batch

    def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> str:
        for message in messages:
            if message["role"] in self.refused_roles:
                raise ValueError(f"no {message['role']} here")
        turns = [
            f"[{message['role']}]{self.header if message['role'] == 'assistant' else ''}"
            f"{message['content']}{self.end_of_turn}"
            for message in messages
        ]
        if not self.appends and not options["add_generation_prompt"]:
            turns.insert(0, "[finished]")
        return "".join(turns) + (f"[assistant]{self.header}" if options["add_generation_prompt"] else "")


def learned(tokenizer: StandIn, row: Row = ROW) -> tuple[str, str]:
    """Return the prompt of a row, and what is learned of it."""
    encoded = encode(tokenizer, [row])[0]
    assert not isinstance(encoded, RowError)
    ((start, end),) = encoded.spans
    return "".join(map(chr, encoded.ids[:start])), "".join(map(chr, encoded.ids[start:end]))


def test_prompt_and_completion_are_cut_where_the_answer_begins() -> None:
    assert learned(StandIn()) == ("[user]2+2?<end>[assistant]", "4<end>")


@pytest.mark.parametrize(
    ("end_of_turn", "want"),
    [
        pytest.param("<turn>\n", "4<turn>", id="a special token"),
        pytest.param("\n", "4\n<end>", id="none"),
        pytest.param("<tool>", "4<tool><end>", id="a token that is not special"),
    ],
)
def test_every_completion_teaches_the_model_to_end(end_of_turn: str, want: str) -> None:
    assert learned(StandIn(end_of_turn=end_of_turn))[1] == want


def chat(*turns: tuple[str, str]) -> Row:
    return parse_row({"messages": [{"role": role, "content": text} for role, text in turns]}, "Messages")


def spans(row: Row, **tokenizer: Any) -> list[str]:
    """Return what is learned of a row, where the assistant is asked with a line feed."""
    encoded = encode(StandIn(header="\n", **tokenizer), [row])[0]
    assert not isinstance(encoded, RowError)
    return ["".join(map(chr, encoded.ids[start:end])) for start, end in encoded.spans]


def test_every_answer_is_learned_with_its_end() -> None:
    assert spans(chat(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"))) == [
        "b<end>",
        "d<end>",
    ]


def test_an_answer_that_shares_a_token_with_its_prompt_is_tokenized_on_its_own() -> None:
    row = chat(("user", "a"), ("assistant", "\nb"))
    encoded = encode(StandIn(header="\n"), [ROW, row, ROW])[1]

    assert isinstance(encoded, Encoded)
    assert spans(row) == ["\nb<end>"]
    assert 10_000 not in encoded.ids
    assert "".join(map(chr, encoded.ids[: encoded.spans[-1][0]])) == "[user]a<end>[assistant]\n"


def test_an_earlier_answer_that_shares_a_token_with_its_prompt_is_not_learned() -> None:
    row = chat(("user", "a"), ("assistant", "\nb"), ("user", "c"), ("assistant", "d"))

    assert spans(row) == ["d<end>"]


def test_a_space_before_an_answer_is_never_taken_for_one_of_its_own() -> None:
    """Tokenizers that trim offsets say of the token " b" that it begins with b."""
    calls: list[list[str]] = []

    class Watched(StandIn):
        def __call__(self, texts: list[str], **options: bool) -> Batch:
            calls.append(texts)
            return super().__call__(texts, **options)

    encode(Watched(header=" "), [chat(("user", "a"), ("assistant", "b"))])

    assert calls == [["[user]a<end>[assistant] b<end>"], ["[user]a<end>[assistant] ", "b<end>"]]


def test_a_tokenizer_that_does_not_say_where_tokens_stand_learns_the_last_answer() -> None:
    row = chat(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"))

    assert spans(row, is_fast=False) == ["d<end>"]


def test_a_text_is_learned_to_its_end_but_for_the_token_that_nothing_comes_before() -> None:
    row = parse_row({"text": "Hi"}, "Text")

    assert encode(StandIn(), [row]) == [Encoded(ids=[1, 72, 105, 2], spans=((1, 4),))]


def refusal(tokenizer: StandIn, row: Row = ROW) -> str:
    """Return what a template has against a row."""
    encoded = encode(tokenizer, [row])[0]
    assert isinstance(encoded, RowError)
    return str(encoded)


def test_a_template_that_rewrites_what_was_said_is_refused() -> None:
    assert "renders a finished conversation differently" in refusal(StandIn(appends=False))


def test_a_conversation_that_the_template_refuses_leaves_the_others_alone() -> None:
    value = {
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "2+2?"},
            {"role": "assistant", "content": "4"},
        ]
    }
    tokenizer = StandIn(refused_roles=("system",))
    row = parse_row(value, "Messages")

    assert "refuses the conversation: no system here" in refusal(tokenizer, row)
    others = encode(tokenizer, [ROW, row, ROW])
    assert [isinstance(one, RowError) for one in others] == [False, True, False]


def test_a_template_that_refuses_the_plainest_conversation_is_the_models_fault() -> None:
    with pytest.raises(UserError, match="the chat template fails: no user here") as raised:
        refusal(StandIn(refused_roles=("user",)))

    assert raised.value.reason == "ModelInvalid"


def test_a_base_model_without_a_template_gets_the_plain_one() -> None:
    tokenizer = StandIn(chat_template=None)

    assert complete_tokenizer(tokenizer)
    assert tokenizer.chat_template == PLAIN_TEMPLATE
    assert not complete_tokenizer(tokenizer)


def test_a_given_template_takes_the_place_of_the_models_own() -> None:
    tokenizer = StandIn(chat_template="own")

    assert not complete_tokenizer(tokenizer, "given")
    assert tokenizer.chat_template == "given"


def test_a_given_template_that_fails_is_the_users_to_correct() -> None:
    with pytest.raises(UserError, match=r"dataset\.chatTemplate fails: no user here; correct it") as raised:
        complete_tokenizer(StandIn(refused_roles=("user",)), "given")

    assert raised.value.reason == "InvalidConfiguration"


def test_padding_falls_back_on_another_token() -> None:
    tokenizer = StandIn(unk_token="<unk>")
    complete_tokenizer(tokenizer)
    assert tokenizer.pad_token == "<unk>"


def test_a_tokenizer_without_an_end_is_refused() -> None:
    with pytest.raises(UserError, match="no eos_token"):
        complete_tokenizer(StandIn(eos_token=None))


def test_answers_stop_at_the_eos_and_at_the_templates_end_of_turn() -> None:
    assert stop_token_ids(StandIn(), [[7, 8, 9, 5], [7, 9]]) == [2, 9]
    assert stop_token_ids(StandIn(), [[7, 5]]) == [2]

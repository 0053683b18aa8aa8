"""From rows to the tokens that the model sees, and which of them are learned: the answers, each with what ends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelgarden_pod.errors import UserError
from modelgarden_train.data.rows import Row, RowError
from modelgarden_train.data.turns import Rendered, Span, Turns

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerBase

PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}"
    "{% for message in messages %}"
    "{{ '### ' + message['role'] | capitalize + ':\\n' + message['content'] | trim }}"
    "{{ eos_token if message['role'] == 'assistant' else '' }}{{ '\\n\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Assistant:\\n' }}{% endif %}"
)
"""For base models without a chat template. It is saved with the artifact, so serving uses the same."""


@dataclass(frozen=True)
class Encoded:
    """A row as the model sees it."""

    ids: list[int]
    """Of the whole conversation, up to the end of the last turn."""
    spans: tuple[Span, ...]
    """What is learned: from the first token of an answer to the one that ends it, which is left out of the range."""
    rejected_ids: list[int] = field(default_factory=list)
    """The worse answer of a preference, after the same prompt."""

    @property
    def longest(self) -> int:
        """Tokens of the longer of the conversations that it is, one with each answer."""
        return max(len(self.ids), self.spans[-1][0] + len(self.rejected_ids))


def complete_tokenizer(tokenizer: PreTrainedTokenizerBase, template: str | None = None) -> bool:
    """Give a tokenizer what it lacks for training; return whether the plain template was added.

    A template that is given takes the place of the tokenizer's own.

    Raises:
        UserError: ModelInvalid, there is no end-of-sequence token, so no answer could end; InvalidConfiguration, the
            template that is given fails.
    """
    if tokenizer.eos_token is None:
        raise UserError(
            "ModelInvalid",
            "the tokenizer has no eos_token, so answers could not end; set it in tokenizer_config.json",
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    if template is not None:
        tokenizer.chat_template = template
        if (fault := Turns(tokenizer).fault) is not None:
            raise UserError("InvalidConfiguration", f"dataset.chatTemplate fails: {fault}; correct it")
    if tokenizer.chat_template:
        return False
    tokenizer.chat_template = PLAIN_TEMPLATE
    return True


def encode(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]) -> list[Encoded | RowError]:
    """Return rows as the tokens that are trained on, or what the template has against one.

    Raises:
        UserError: ModelInvalid, the template refuses any conversation.
    """
    turns = Turns(tokenizer)
    texts = _encoded_texts(tokenizer, [row.answer for row in rows if row.kind == "Text"])
    found = [next(texts) if row.kind == "Text" else turns.render(row) for row in rows]
    encoded = _encoded(tokenizer, [one for one in found if isinstance(one, Rendered)])
    return [next(encoded) if isinstance(one, Rendered) else one for one in found]


def _encoded_texts(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> Iterator[Encoded]:
    """Yield texts that are learned as a whole but for the first token, which nothing comes before."""
    for ids in tokenizer(texts)["input_ids"] if texts else ():
        ended = ids if ids[-1] == tokenizer.eos_token_id else [*ids, tokenizer.eos_token_id]
        yield Encoded(ids=ended, spans=((1, len(ended)),))


def _encoded(tokenizer: PreTrainedTokenizerBase, rendered: Sequence[Rendered]) -> Iterator[Encoded]:
    """Yield conversations as tokens.

    Each is tokenized as a whole where no token crosses into its last answer, else prompt and answer on their own. In
    both ways the prompt's tokens are those that serving gives the model: neither BPE nor Unigram let a text change what
    comes before a border that no token crosses. An earlier answer that a token crosses into is not learned.
    """
    for one, whole in zip(rendered, _tokenized(tokenizer, [one.text for one in rendered]), strict=True):
        spans = [_located(whole, one.text, span) for span in one.spans]
        if spans[-1] is not None:
            yield Encoded(whole.ids, tuple(span for span in spans if span is not None))
            continue
        start, end = one.spans[-1]
        prompt, answer = _tokenized(tokenizer, [one.text[:start], one.text[start:end]])
        earlier = (_located(prompt, one.text, span) for span in one.spans[:-1])
        last = (max(len(prompt.ids), 1), len(prompt.ids) + len(answer.ids))
        yield Encoded(prompt.ids + answer.ids, (*(span for span in earlier if span is not None), last))


@dataclass(frozen=True)
class _Tokens:
    """A text as tokens; a tokenizer that is not of the fast kind does not say where they stand in it."""

    ids: list[int]
    encoding: Encoding | None


def _tokenized(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[_Tokens]:
    if not texts:
        return []
    batch = tokenizer(
        texts, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False
    )
    encodings = batch.encodings or [None] * len(texts)
    return [_Tokens(*one) for one in zip(batch["input_ids"], encodings, strict=True)]


def _located(tokens: _Tokens, text: str, span: Span) -> Span | None:
    """Return where an answer stands in tokens, None where it cannot be told or begins within one.

    A space before the answer may belong to its first token: some tokenizers leave it out of what they say of a token.
    """
    start, end = span
    if tokens.encoding is None or text[start - 1 : start] in (" ", "\t"):
        return None
    first, last = tokens.encoding.char_to_token(start), tokens.encoding.char_to_token(end - 1)
    if first is None or last is None or tokens.encoding.token_to_chars(first)[0] != start:
        return None
    return max(first, 1), last + 1


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Return the tokens of rendered texts; the template has put the special tokens in already."""
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return ids


def stop_token_ids(tokenizer: PreTrainedTokenizerBase, completions: Sequence[Sequence[int]]) -> list[int]:
    """Return the tokens that end an answer: the tokenizer's EOS, and the special token that ends the completions."""
    special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    ends = {
        next((token for token in reversed(ids) if token in special), tokenizer.eos_token_id)
        for ids in completions
    }
    return sorted({tokenizer.eos_token_id, *ends})

"""Chat template: how a conversation becomes the text that the model sees, in training and in serving alike."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelgarden_pod.errors import UserError
from modelgarden_train.data.rows import Message, Row, RowError

if TYPE_CHECKING:
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

_PLAINEST: list[Message] = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


@dataclass(frozen=True)
class Encoded:
    """A row as the model sees it."""

    ids: list[int]
    """Of the whole conversation, up to the end of the last turn."""
    spans: tuple[tuple[int, int], ...]
    """What is learned: from the first token of an answer to the one that ends it, which is left out of the range."""


@dataclass(frozen=True)
class _Rendered:
    prompt: str
    completion: str


def complete_tokenizer(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Give a tokenizer what it lacks for training; return whether the plain template was added.

    Raises:
        UserError: ModelInvalid, there is no end-of-sequence token, so no answer could end.
    """
    if tokenizer.eos_token is None:
        raise UserError(
            "ModelInvalid",
            "the tokenizer has no eos_token, so answers could not end; set it in tokenizer_config.json",
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    if tokenizer.chat_template:
        return False
    tokenizer.chat_template = PLAIN_TEMPLATE
    return True


def encode(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]) -> list[Encoded | RowError]:
    """Return rows as the tokens that are trained on, or what the template has against one.

    Raises:
        UserError: ModelInvalid, the template refuses any conversation.
    """
    ends = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    ends.add(str(tokenizer.eos_token))
    found = [
        _text(tokenizer, row) if row.kind == "Text" else _render(tokenizer, row, ends=ends) for row in rows
    ]
    rendered = [one for one in found if isinstance(one, _Rendered)]
    prompts = iter(token_ids(tokenizer, [one.prompt for one in rendered]))
    completions = iter(token_ids(tokenizer, [one.completion for one in rendered]))
    return [_joined(next(prompts), next(completions)) if isinstance(one, _Rendered) else one for one in found]


def _text(tokenizer: PreTrainedTokenizerBase, row: Row) -> Encoded:
    """Return a text that is learned as a whole; nothing comes before its first token, so that one is given."""
    ids: list[int] = tokenizer(row.answer)["input_ids"]
    if ids[-1:] != [tokenizer.eos_token_id]:
        ids = [*ids, tokenizer.eos_token_id]
    return Encoded(ids=ids, spans=((1, len(ids)),))


def _joined(prompt: list[int], completion: list[int]) -> Encoded:
    return Encoded(ids=prompt + completion, spans=((len(prompt), len(prompt) + len(completion)),))


def _render(tokenizer: PreTrainedTokenizerBase, row: Row, *, ends: Collection[str]) -> _Rendered | RowError:
    try:
        prompt = _apply(tokenizer, row.prompt_messages, add_generation_prompt=True)
        whole = _apply(tokenizer, list(row.messages), add_generation_prompt=False)
    except Exception as error:  # noqa: BLE001 -- a template raises what it likes
        return _refusal(tokenizer, error)
    if not whole.startswith(prompt):
        return RowError(
            "the chat template renders a finished conversation differently from the prompt that asks for its answer, "
            "so training would not fit serving; use a model whose template only appends"
        )
    completion = whole[len(prompt) :]
    if not any(token in completion for token in ends):
        # The template closes a turn with ordinary text, at which generation cannot stop.
        completion += str(tokenizer.eos_token)
    return _Rendered(prompt=prompt, completion=completion)


def _refusal(tokenizer: PreTrainedTokenizerBase, error: Exception) -> RowError:
    """Return what is wrong with a row.

    Raises:
        UserError: ModelInvalid, not even the plainest conversation can be rendered.
    """
    try:
        _apply(tokenizer, _PLAINEST, add_generation_prompt=False)
    except Exception as plain:  # a template raises what it likes
        raise UserError("ModelInvalid", f"the chat template fails: {plain}") from plain
    return RowError(f"the model's chat template refuses the conversation: {error}; correct the row")


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


def _apply(
    tokenizer: PreTrainedTokenizerBase, messages: list[Message], *, add_generation_prompt: bool
) -> str:
    text: str = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=add_generation_prompt
    )
    return text

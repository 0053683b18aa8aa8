"""Chat template: how a conversation becomes the text that the model sees, in training and in serving alike."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelgarden_pod.errors import UserError
from modelgarden_train.data.rows import Message, Row

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
class Rendered:
    """A row as text: prompt, and completion with its end-of-turn token."""

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


def render(tokenizer: PreTrainedTokenizerBase, rows: Iterable[Row]) -> list[Rendered]:
    """Return rows as the texts that are trained on.

    Raises:
        UserError: DatasetInvalid, the template refuses a conversation; ModelInvalid, it refuses any or does not
            begin a conversation as it continues it.
    """
    ends = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    ends.add(str(tokenizer.eos_token))
    return [_render(tokenizer, row, ends=ends) for row in rows]


def _render(tokenizer: PreTrainedTokenizerBase, row: Row, *, ends: Collection[str]) -> Rendered:
    try:
        prompt = _apply(tokenizer, row.prompt_messages, add_generation_prompt=True)
        whole = _apply(tokenizer, list(row.messages), add_generation_prompt=False)
    except Exception as error:  # a template raises what it likes
        raise _refusal(tokenizer, row, error) from error
    if not whole.startswith(prompt):
        raise UserError(
            "ModelInvalid",
            f"line {row.line}: the chat template renders a finished conversation differently from the prompt that "
            "asks for its answer, so training would not fit serving; use a model whose template only appends",
        )
    completion = whole[len(prompt) :]
    if not any(token in completion for token in ends):
        # The template closes a turn with ordinary text, at which generation cannot stop.
        completion += str(tokenizer.eos_token)
    return Rendered(prompt=prompt, completion=completion)


def _refusal(tokenizer: PreTrainedTokenizerBase, row: Row, error: Exception) -> UserError:
    """Return the failure of a row; it is the model's where not even the plainest conversation can be rendered."""
    try:
        _apply(tokenizer, _PLAINEST, add_generation_prompt=False)
    except Exception:  # noqa: BLE001 -- a template raises what it likes
        return UserError("ModelInvalid", f"line {row.line}: the chat template fails: {error}")
    return UserError(
        "DatasetInvalid",
        f"line {row.line}: the model's chat template refuses the conversation: {error}; correct the row",
    )


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

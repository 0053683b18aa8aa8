"""`python -m modelgarden_train.rewards.judge`, as `rewards/judge_process.py` starts it: judges until nobody asks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelgarden_pod.prctl import end_with_parent
from modelgarden_train.rewards.completion import Completion
from modelgarden_train.rewards.judge.channel import Channel
from modelgarden_train.rewards.judge.errors import AnswerError, NodeError, RewardError
from modelgarden_train.rewards.judge.sandbox import shut_off

Judge = Callable[[Sequence[Completion]], Sequence[float | None]]


def main() -> None:
    """Shut this process off, become the judge that is asked for, and answer."""
    end_with_parent()
    channel = Channel()
    if (order := channel.hear()) is None:
        return
    try:
        apart, judge = _begun(order)
    except RewardError as error:
        channel.say({"wrong": str(error)})
        return
    except NodeError as error:
        channel.say({"node": str(error)})
        return
    channel.say({"files": apart})
    while (asked := channel.hear()) is not None:
        channel.say(_answer(judge, [Completion(**given) for given in asked["completions"]]))


def _begun(order: Mapping[str, Any]) -> tuple[bool, Judge]:
    file = Path(order["file"]) if order["file"] else None
    try:
        apart = shut_off(file=file, memory_bytes=order["memory"])
    except OSError as error:
        raise NodeError(f"its process cannot be shut off on this node: {error}") from error
    return apart, _judge(order["type"], order["settings"], file)


def _judge(kind: str, settings: Mapping[str, Any], file: Path | None) -> Judge:
    # Each with its own library, which the others need not wait for.
    if kind == "Regex":
        from modelgarden_train.rewards.judge.patterns import PatternJudge

        return PatternJudge(**settings)
    if kind == "JSONSchema":
        from modelgarden_train.rewards.judge.schemas import SchemaJudge

        return SchemaJudge(**settings)
    if file is None:
        raise RewardError("it has no file")
    if kind == "SQL":
        from modelgarden_train.rewards.judge.queries import QueryJudge

        return QueryJudge(file, **settings)
    from modelgarden_train.rewards.judge.source import FunctionJudge

    return FunctionJudge(file, **settings)


def _answer(judge: Judge, completions: Sequence[Completion]) -> dict[str, Any]:
    try:
        return {"values": judge(completions)}
    except RewardError as error:
        return {"wrong": str(error)}
    except AnswerError as error:
        return {"answer": str(error)}


if __name__ == "__main__":
    main()
    os._exit(0)  # threads of the user's own would keep it
